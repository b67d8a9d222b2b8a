#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/memory/backups/backup_manifest.h"
#include "engine/memory/bank.h"
#include "engine/memory/clock.h"
#include "engine/memory/document_encoder.h"
#include "engine/memory/files/file_system.h"

namespace msa::engine {

struct BankStoreOptions {
  std::string data_dir;
  std::string backup_dir;  // where backups are; empty: there can be none
  int num_shards = 1;
  MemoryGeometry geometry;
  int64_t max_text_bytes = int64_t{4} << 20;       // of one document
  int64_t max_metadata_bytes = int64_t{16} << 10;  // of one document, keys and values
  // Router keys, ids and metadata of all banks that are open, with tombstones.
  int64_t router_key_budget_bytes = int64_t{8} << 30;
  int64_t max_pending_documents = 4096;  // waiting for acceptance, and again for encoding, per bank
  int64_t max_pending_bytes = int64_t{64} << 20;
  absl::Duration segment_interval =
      absl::Milliseconds(200);  // encoded documents wait at most this long for a segment
  int64_t segment_target_bytes = int64_t{64} << 20;
  // Segments are rewritten, and memory is, where this share of them is dead; and so many small
  // segments (an eighth of segment_target_bytes) are merged.
  double compaction_share = 0.25;
  int64_t compaction_merge = 16;
  // Every bank is verified this often, at so many bytes a second; infinite: never.
  absl::Duration scrub_interval = absl::InfiniteDuration();
  int64_t scrub_bytes_per_second = int64_t{16} << 20;
  absl::Duration write_retry_interval =
      absl::Seconds(1);  // after a segment did not fit on the disk
  // False: int8 keys cannot rule documents out for this model, so that no bank has any.
  bool has_first_pass = true;

  // How a bank of these settings is scanned.
  RouterKeyScan ScanOf(const BankSettings& settings) const {
    return has_first_pass ? settings.router_key_scan : RouterKeyScan::kExact;
  }
};

// Gets told what happens, for metrics and the log; called on the store's threads, must not block. All methods
// have empty defaults.
class MemoryObserver {
 public:
  virtual ~MemoryObserver() = default;
  virtual void DocumentAccepted() {}
  virtual void DocumentActive(int64_t /*num_tokens*/, absl::Duration /*since_accepted*/) {}
  virtual void DocumentFailed() {}
  virtual void DocumentDeduplicated() {}
  virtual void ChecksumFailed() {}
  // What was damaged, by name, and is encoded again or left out; also why a bank cannot be used or
  // has turned read-only.
  virtual void ProblemFound(const std::string& /*bank*/, const absl::Status& /*problem*/) {}
};

// All banks of a data directory. Thread-safe.
class BankStore {
 public:
  // Takes the directory's lock (FAILED_PRECONDITION "… is in use by another server"), opens every
  // bank, removes orphan segments, loads the shards and queues ACCEPTED documents for encoding
  // again. A bank of another model is kept but every use of it is FAILED_PRECONDITION with both
  // fingerprints. `encoder`, `files` and `clock` must outlive the store.
  static absl::StatusOr<std::unique_ptr<BankStore>> Open(const BankStoreOptions& options,
                                                         DocumentEncoder* encoder,
                                                         FileSystem* files, Clock* clock,
                                                         MemoryObserver* observer);
  // Finishes nothing: what is acknowledged is on disk, the rest is refused.
  virtual ~BankStore() = default;

  // Names: 1 to 64 of [a-z0-9_-], starting with a letter or digit. INVALID_ARGUMENT,
  // ALREADY_EXISTS.
  virtual absl::StatusOr<std::shared_ptr<Bank>> Create(const std::string& name,
                                                       const BankSettings& settings) = 0;
  // Opens the bank where it is closed, which may take seconds. Banks are open from the start as
  // long as they fit into router_key_budget_bytes; to make room for another, those that nobody
  // holds and that have nothing to do are closed, the least recently used first. NOT_FOUND,
  // RESOURCE_EXHAUSTED (with numbers and retry_after) where the others are all in use.
  virtual absl::StatusOr<std::shared_ptr<Bank>> Get(const std::string& name) = 0;
  virtual std::vector<BankInfo> List() const = 0;                    // by name
  virtual std::vector<std::shared_ptr<Bank>> OpenBanks() const = 0;  // now; by name
  // FAILED_PRECONDITION when the bank has documents and `force` is not set. Running queries keep
  // what they pinned. Waits for the bank's thread: not from a callback of the bank.
  virtual absl::Status Delete(const std::string& name, bool force) = 0;

  // ---- long jobs: they block, and end with CANCELLED where the monitor says so
  // Copies a bank as it is at one moment to `backup` below backup_dir, while it serves; `backup` is
  // named like a bank. NOT_FOUND, ALREADY_EXISTS, INVALID_ARGUMENT, FAILED_PRECONDITION (no
  // backup_dir). It is there as a whole or not at all.
  virtual absl::StatusOr<BackupInfo> Backup(const std::string& bank, const std::string& backup,
                                            JobMonitor* monitor) = 0;
  // Makes bank `bank` (empty: the one that was copied) from a backup. NOT_FOUND, ALREADY_EXISTS,
  // DATA_LOSS names the file. A bank of another model is there but cannot be used before Reencode.
  virtual absl::StatusOr<BankInfo> Restore(const std::string& backup, const std::string& bank,
                                           JobMonitor* monitor) = 0;
  virtual absl::StatusOr<std::vector<BackupInfo>> Backups()
      const = 0;                                                     // by name, also damaged ones
  virtual absl::Status DeleteBackup(const std::string& backup) = 0;  // NOT_FOUND
  // Encodes a bank again from its texts for the model and dtype of this store, numbers kept. A bank
  // that can be used serves meanwhile, but takes no changes (UNAVAILABLE); whoever holds it finds
  // it stopping at the end. What the model cannot encode is FAILED. A job that is cancelled or ends
  // with the process leaves the bank as it was.
  virtual absl::StatusOr<BankInfo> Reencode(const std::string& bank, JobMonitor* monitor) = 0;

  // Refuses new ingests (UNAVAILABLE), waits until accepted work in flight is written or `grace` is
  // over.
  virtual void Drain(absl::Duration grace) = 0;
};

}  // namespace msa::engine
