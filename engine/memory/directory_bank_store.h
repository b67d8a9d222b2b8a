#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/memory/backups/backup_directory.h"
#include "engine/memory/bank_directories.h"
#include "engine/memory/bank_registry.h"
#include "engine/memory/bank_store.h"
#include "engine/memory/memory_bank.h"
#include "engine/memory/scrubber.h"

namespace msa::engine {

// The banks of one directory, by name, and the long jobs on them.
class DirectoryBankStore : public BankStore {
 public:
  // `lock` is that of the data directory.
  DirectoryBankStore(BankEnvironment environment, std::unique_ptr<FileLock> lock);

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
  absl::Status RemoveBank(const std::string& name, MemoryBank* bank);
  absl::Status RestoreFiles(const std::string& backup, const std::string& bank,
                            JobMonitor* monitor);
  absl::Status Replace(const std::string& name, MemoryBank* old);
  absl::Status Rebuild(const std::string& name, MemoryBank* bank, JobMonitor* monitor);
  absl::Status FillReplacement(const std::string& name, const CatalogReader& from,
                               const CatalogSettings& settings, JobMonitor* monitor);

  BankEnvironment environment_;
  const std::unique_ptr<FileLock> lock_;
  BankDirectories directories_;
  const BackupDirectory backups_;
  BankRegistry registry_;
  std::unique_ptr<Scrubber> scrubber_;  // last: it uses the registry
};

}  // namespace msa::engine
