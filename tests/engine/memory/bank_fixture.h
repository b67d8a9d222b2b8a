#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/memory/bank_store.h"
#include "tests/engine/memory/scripted_encoder.h"

namespace msa::engine {

// A directory that goes with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

MemoryGeometry SmallGeometry();  // 3 layers of width 4, 8 tokens per chunk, bf16

// Collects what the store reports.
class RecordingObserver : public MemoryObserver {
 public:
  void DocumentAccepted() override { Count("accepted"); }
  void DocumentActive(int64_t, absl::Duration) override { Count("active"); }
  void DocumentFailed() override { Count("failed"); }
  void DocumentDeduplicated() override { Count("deduplicated"); }
  void ChecksumFailed() override { Count("checksum"); }
  void ProblemFound(const std::string& bank, const absl::Status& problem) override;

  int count(const std::string& what) const;
  std::vector<std::string> problems() const;

 private:
  void Count(const std::string& what);

  mutable std::mutex mutex_;
  std::map<std::string, int> counts_;
  std::vector<std::string> problems_;
};

std::string ReadFile(const std::string& path);
void WriteFile(const std::string& path, const std::string& bytes);
void FlipBit(const std::string& path, size_t bit);
std::vector<std::string> FilesIn(const std::string& directory);

// Blocking forms of the bank's calls.
IngestResult Ingest(Bank& bank, DocumentInput document, IngestMode mode = IngestMode::kInsert,
                    AcknowledgeAt level = AcknowledgeAt::kActive);
IngestResult Ingest(Bank& bank, const std::string& id, const std::string& text,
                    IngestMode mode = IngestMode::kInsert,
                    AcknowledgeAt level = AcknowledgeAt::kActive);
Bank::DeleteResult Delete(Bank& bank, std::vector<std::string> ids);
Bank::DeleteResult DeleteMatching(Bank& bank, Filter filter);
Bank::CompactResult Compact(Bank& bank);

// Waits (at most 20 s) until `condition` holds; false when it does not.
bool Eventually(const std::function<bool()>& condition);
// Waits until no document is ACCEPTED and queries see all that is ACTIVE.
bool Settles(Bank& bank);

// A store over a temporary directory with one bank, "a", and a ScriptedEncoder. Nothing is compacted
// by itself.
class BankTest : public ::testing::Test {
 protected:
  BankTest();
  ~BankTest() override;

  void OpenStore(FileSystem* files = PosixFileSystem());
  void CloseStore();
  void Reopen();
  void MakeBank(const BankSettings& settings = {});
  void ExecuteSql(const std::string& sql);  // on the catalog, while the store is closed

  std::string BankDirectory() const { return options_.data_dir + "/banks/a"; }
  std::string SegmentDirectory() const { return BankDirectory() + "/segments"; }

  // What a query that starts now sees in the shards: number -> router keys and content, checked to
  // be whole.
  struct Arrays {
    std::vector<std::byte> router_keys;
    std::vector<std::byte> content;
    friend bool operator==(const Arrays&, const Arrays&) = default;
  };
  std::map<uint32_t, Arrays> VisibleArrays(Bank& bank, const BankPin& pin);
  std::map<uint32_t, Arrays> VisibleArrays(Bank& bank);
  std::vector<uint32_t> VisibleNumbers(Bank& bank, const BankPin& pin);
  Arrays ExpectedArrays(uint32_t number, const std::string& text) const;
  // The shards hold exactly the ACTIVE documents, as the encoder makes them.
  void ExpectServesExactlyWhatIsActive(Bank& bank);

  TemporaryDirectory directory_;
  BankStoreOptions options_;
  std::unique_ptr<ScriptedEncoder> encoder_;
  RecordingObserver observer_;
  std::unique_ptr<BankStore> store_;
  std::shared_ptr<Bank> bank_;
};

}  // namespace msa::engine
