#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "engine/memory/bank.h"

namespace msa::server {

// Documents by id; a text of n bytes has n tokens and one chunk per 64. Ingests are answered on a
// thread of the bank, or, after Hold, by Release.
class FakeBank : public engine::Bank {
 public:
  FakeBank(std::string name, engine::BankSettings settings);
  ~FakeBank() override;

  void Hold();  // results wait
  void Release(
      size_t count);  // gives the newest held results first, so that order is the reader's problem
  void ReleaseAll();  // and stops holding
  size_t num_held() const;
  std::vector<std::string> accepted_ids() const;  // in the order of Ingest
  int64_t num_read() const { return num_read_; }  // documents that List gave
  // ---- set before use
  std::function<absl::Status(const engine::DocumentInput&)> check;  // refuses documents
  std::function<absl::Status(const engine::DocumentInput&)>
      take;  // refuses them as a queue that is full does, in the caller
  std::function<absl::StatusOr<VerifyResult>(engine::JobMonitor*, OnDamage)> verify;
  std::atomic<int64_t> num_tombstones{0};

  engine::BankInfo Info() const override;
  engine::BankStats Stats() const override;
  void Ingest(engine::DocumentInput document, engine::IngestMode mode, engine::AcknowledgeAt level,
              IngestDone done) override;
  void Update(engine::DocumentUpdate update, engine::AcknowledgeAt level, IngestDone done) override;
  void Delete(std::vector<std::string> ids, DeleteDone done) override;
  void DeleteMatching(engine::Filter filter, DeleteDone done) override;
  void ChangeSettings(engine::BankSettingsChange change, SettingsDone done) override;
  void Compact(CompactDone done) override;  // on the bank's thread, as an ingest is answered
  absl::StatusOr<VerifyResult> Verify(engine::JobMonitor* monitor, OnDamage on_damage) override;
  absl::StatusOr<engine::DocumentInfo> Get(const std::string& id, bool with_text) const override;
  static constexpr int64_t kRowsOfPage = 8;  // looked at for one page of List
  absl::StatusOr<engine::DocumentPage> List(const std::string& after_id, int64_t limit,
                                            bool with_text,
                                            const engine::Filter* filter) const override;
  // Never called by the server.
  engine::DocumentSet Select(const engine::Filter*, absl::Span<const std::string>) const override;
  absl::StatusOr<std::vector<engine::DocumentInfo>> Read(absl::Span<const uint32_t> numbers,
                                                         const engine::BankPin& pin,
                                                         bool with_text) const override;
  std::unique_ptr<engine::BankPin> Pin() override;
  int num_shards() const override { return 2; }
  const engine::Shard& shard(int rank) const override;  // never called by the server

 private:
  engine::IngestResult Store(engine::DocumentInput document, engine::IngestMode mode);
  void Answer(IngestDone done, engine::IngestResult result);
  void Work();

  const std::string name_;
  mutable std::mutex mutex_;
  engine::BankSettings settings_;
  std::condition_variable wake_;
  std::map<std::string, engine::DocumentInfo> documents_;
  std::vector<std::string> accepted_ids_;
  std::deque<absl::AnyInvocable<void()>> answers_;
  uint32_t next_number_ = 1;
  uint64_t revision_ = 0;
  mutable std::atomic<int64_t> num_read_{0};
  size_t release_ = 0;
  bool holding_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace msa::server
