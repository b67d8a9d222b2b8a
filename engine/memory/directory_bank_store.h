#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/memory/backups/backup_directory.h"
#include "engine/memory/bank_directories.h"
#include "engine/memory/bank_store.h"
#include "engine/memory/memory_bank.h"
#include "engine/memory/scrubber.h"

namespace msa::engine {

// The banks of one directory, by name, and the long jobs on them.
class DirectoryBankStore : public BankStore {
 public:
  // `lock` is that of the data directory.
  DirectoryBankStore(BankEnvironment environment, std::unique_ptr<FileLock> lock);
  ~DirectoryBankStore() override;

  // Before anything else: opens banks as long as they fit.
  absl::Status Start();

  absl::StatusOr<std::shared_ptr<Bank>> Create(const std::string& name,
                                               const BankSettings& settings) override;
  absl::StatusOr<std::shared_ptr<Bank>> Get(const std::string& name) override;
  std::vector<BankInfo> List() const override;
  std::vector<std::shared_ptr<Bank>> OpenBanks() const override;
  absl::Status Delete(const std::string& name, bool force) override;

  absl::StatusOr<BackupInfo> Backup(const std::string& bank, const std::string& backup,
                                    JobMonitor* monitor) override;
  absl::StatusOr<BankInfo> Restore(const std::string& backup, const std::string& bank,
                                   JobMonitor* monitor) override;
  absl::StatusOr<std::vector<BackupInfo>> Backups() const override;
  absl::Status DeleteBackup(const std::string& backup) override;
  absl::StatusOr<BankInfo> Reencode(const std::string& bank, JobMonitor* monitor) override;

  void Drain(absl::Duration grace) override;

 private:
  struct Entry {
    std::shared_ptr<MemoryBank> bank;  // null where it is closed, or `problem` is not ok
    absl::Status problem;
    BankInfo info;           // as far as it could be read; of an open bank, ask that
    bool is_hidden = false;  // being restored or deleted: the name is taken, the bank is not there
    bool has_job = false;    // that nothing may come between
    bool is_changing = false;  // being opened or closed: wait for changed_
    absl::Time last_use;
  };
  class Job;

  // All that wait do so with `lock`, which holds mutex_, and release it meanwhile.
  absl::StatusOr<Entry*> Find(const std::string& name, std::unique_lock<std::mutex>* lock);
  absl::Status OpenClosed(const std::string& name, std::unique_lock<std::mutex>* lock);
  absl::Status MakeRoom(int64_t num_bytes, std::unique_lock<std::mutex>* lock);
  bool CloseOneIdle(std::unique_lock<std::mutex>* lock);

  // Opens a bank unless `make_room` refuses the memory that it takes: it then stays
  // closed, and `*refusal` is set.
  using MakeRoomFor = absl::FunctionRef<absl::Status(int64_t num_bytes)>;
  Entry OpenEntry(const std::string& name, MakeRoomFor make_room, absl::Status* refusal);
  Entry OpenEntry(const std::string& name);  // room or not
  absl::Status OpenBank(const std::string& name, MakeRoomFor make_room, absl::Status* refusal,
                        Entry* entry);
  absl::Status RemoveBank(const std::string& name, MemoryBank* bank);
  absl::Status RestoreFiles(const std::string& backup, const std::string& bank,
                            JobMonitor* monitor);
  absl::Status Rebuild(const std::string& name, const Entry& entry, JobMonitor* monitor);
  absl::Status FillReplacement(const std::string& name, const CatalogReader& from,
                               const CatalogSettings& settings, JobMonitor* monitor);

  const BankEnvironment environment_;
  const std::unique_ptr<FileLock> lock_;
  BankDirectories directories_;
  const BackupDirectory backups_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Entry> entries_;  // under mutex_
  std::unique_ptr<Scrubber> scrubber_;
};

}  // namespace msa::engine
