#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/memory/bank.h"

namespace msa::engine {

// A bank that has nothing and takes nothing: for test banks that are only a part of one.
class BankStub : public Bank {
 public:
  BankInfo Info() const override { return {}; }
  BankStats Stats() const override { return {}; }
  void Ingest(DocumentInput, IngestMode, AcknowledgeAt, IngestDone) override {}
  void Update(DocumentUpdate, AcknowledgeAt, IngestDone) override {}
  void Delete(std::vector<std::string>, DeleteDone) override {}
  void DeleteMatching(Filter, DeleteDone) override {}
  void ChangeSettings(BankSettingsChange, SettingsDone) override {}
  void Compact(CompactDone) override {}
  absl::StatusOr<VerifyResult> Verify(JobMonitor*, OnDamage) override { return VerifyResult(); }
  absl::StatusOr<DocumentInfo> Get(const std::string&, bool) const override {
    return absl::NotFoundError("");
  }
  absl::StatusOr<DocumentPage> List(const std::string&, int64_t, bool,
                                    const Filter*) const override {
    return DocumentPage();
  }
  absl::StatusOr<std::vector<DocumentInfo>> Read(absl::Span<const uint32_t>, const BankPin&,
                                                 bool) const override {
    return std::vector<DocumentInfo>();
  }
  std::unique_ptr<BankPin> Pin() override { return nullptr; }
  DocumentSet Select(const Filter*, absl::Span<const std::string>) const override { return {}; }
};

}  // namespace msa::engine
