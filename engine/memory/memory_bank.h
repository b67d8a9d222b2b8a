#pragma once

#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>
#include <thread>
#include <utility>

#include "engine/memory/acceptance.h"
#include "engine/memory/bank.h"
#include "engine/memory/bank_parts.h"
#include "engine/memory/compaction.h"
#include "engine/memory/segment_commit.h"

namespace msa::engine {

// What the banks of a store share.
struct BankEnvironment {
  BankStoreOptions options;
  DocumentEncoder* encoder = nullptr;
  Clock* clock = nullptr;
  MemoryObserver* observer = nullptr;  // never null
  std::shared_ptr<const CatalogVfs> vfs;
  std::shared_ptr<Budget> router_key_budget;
  // Asks for so much of that budget to be freed, by closing other banks; on a bank's thread.
  std::function<void(int64_t num_bytes)> make_room;

  FileSystem* files() const { return vfs->file_system(); }
};

// A bank over a directory: one thread that does all the writing, in the stages Acceptance,
// EncodingQueue and SegmentCommit; readers use the catalog's reading connection and the ledger.
class MemoryBank : public Bank {
 public:
  // `catalog` is that of `directory`, of this model; its pages are looked at here. Loads everything
  // and starts the thread: Stop it.
  static absl::StatusOr<std::shared_ptr<MemoryBank>> Open(const BankEnvironment& environment,
                                                          const std::string& directory,
                                                          std::unique_ptr<Catalog> catalog);
  ~MemoryBank() override;

  BankInfo Info() const override;
  BankStats Stats() const override;
  void Ingest(DocumentInput document, IngestMode mode, AcknowledgeAt level,
              IngestDone done) override;
  void Update(DocumentUpdate update, AcknowledgeAt level, IngestDone done) override;
  void ChangeSettings(BankSettingsChange change, SettingsDone done) override;
  absl::StatusOr<VerifyResult> Verify(JobMonitor* monitor, OnDamage on_damage) override;
  void Delete(std::vector<std::string> ids, DeleteDone done) override;
  void DeleteMatching(Filter filter, DeleteDone done) override;
  void Compact(CompactDone done) override;
  absl::StatusOr<DocumentInfo> Get(const std::string& id, bool with_text) const override;
  absl::StatusOr<DocumentPage> List(const std::string& after_id, int64_t limit, bool with_text,
                                    const Filter* filter) const override;
  absl::StatusOr<std::vector<DocumentInfo>> Read(absl::Span<const uint32_t> numbers,
                                                 const BankPin& pin, bool with_text) const override;
  std::unique_ptr<BankPin> Pin() override;
  DocumentSet Select(const Filter* filter, absl::Span<const std::string> ids) const override;
  int num_shards() const override;
  const Shard& shard(int rank) const override;

  // A document of a bank that is built anew here, with its number. `done` when it is in the
  // catalog: ACCEPTED, or FAILED where `failure` is not ok or the model cannot encode it.
  struct Original {
    DocumentInput document;
    absl::Time create_time;
    absl::Status failure;
  };
  void Put(Original original, IngestDone done);

  const std::shared_ptr<SegmentFiles>& segments() const { return parts_.segments; }
  absl::Status write_failure() const { return parts_.ledger->write_failure(); }
  // Ingests, deletes and settings get `reason` from now on, until it is ok.
  void RefuseChanges(const absl::Status& reason) { parts_.inbox->RefuseChanges(reason); }
  void RefuseIngest() { parts_.inbox->RefuseIngest(); }
  bool WaitIdle(absl::Duration timeout) { return parts_.inbox->WaitIdle(timeout); }

  // A connection of its own to the catalog, for one thread. While it lives, the catalog is not
  // closed: it must go soon after Stop. UNAVAILABLE where it is closed.
  struct CatalogLease {
    std::shared_lock<std::shared_mutex> lock;
    std::unique_ptr<CatalogReader> catalog;
  };
  absl::StatusOr<CatalogLease> LeaseCatalog() const;

  // Refuses everything and ends the thread, before this object goes. Not from a callback of the
  // bank.
  void Stop();
  // After Stop: reads are UNAVAILABLE from now on.
  void CloseCatalog();
  // After Stop: the directory becomes `directory` and is removed with this object; until then reads
  // go on. On an error the catalog is closed.
  absl::Status MoveToBeRemoved(const std::string& directory);

 private:
  MemoryBank(const BankEnvironment& environment, const std::string& directory,
             std::unique_ptr<Catalog> catalog);
  absl::Status Load();
  void Push(IngestRequest request);
  void Push(DeleteRequest request);
  void RunThread();
  // One round of everything; how long the thread may sleep then.
  absl::Duration DoRound();
  template <class Query>
  auto WithCatalog(Query query) const -> decltype(query(std::declval<const Catalog&>()));

  const BankEnvironment environment_;
  const CatalogSettings settings_;  // as opened: counters and what the owner chooses are the parts'
  std::string directory_;
  bool is_removed_ = false;
  mutable std::shared_mutex catalog_mutex_;  // held shared by readers, unique to close
  std::unique_ptr<Catalog> catalog_;
  Budget token_budget_;
  BankParts parts_;
  EncodingQueue queue_;
  Acknowledgements acknowledgements_;
  Acceptance acceptance_;
  SegmentCommit segment_commit_;
  Compaction compaction_;
  std::thread thread_;
};

}  // namespace msa::engine
