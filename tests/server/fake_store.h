#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/memory/bank_store.h"
#include "tests/server/fake_bank.h"

namespace msa::server {

// Banks by name. A backup is a copy of the documents in memory.
class FakeStore : public engine::BankStore {
 public:
  // Runs inside every backup, restore and re-encoding and may end it. Set before use.
  std::function<absl::Status(engine::JobMonitor*)> job;

  std::shared_ptr<FakeBank> Find(const std::string& name) const;  // null when there is none

  absl::StatusOr<std::shared_ptr<engine::Bank>> Create(
      const std::string& name, const engine::BankSettings& settings) override;
  absl::StatusOr<std::shared_ptr<engine::Bank>> Get(const std::string& name) override;
  std::vector<std::shared_ptr<engine::Bank>> OpenBanks() const override;
  std::vector<engine::BankInfo> List() const override;
  absl::Status Delete(const std::string& name, bool force) override;
  absl::StatusOr<engine::BackupInfo> Backup(const std::string& bank, const std::string& backup,
                                            engine::JobMonitor* monitor) override;
  absl::StatusOr<engine::BankInfo> Restore(const std::string& backup, const std::string& bank,
                                           engine::JobMonitor* monitor) override;
  absl::StatusOr<std::vector<engine::BackupInfo>> Backups() const override;
  absl::Status DeleteBackup(const std::string& backup) override;
  absl::StatusOr<engine::BankInfo> Reencode(const std::string& bank,
                                            engine::JobMonitor* monitor) override;
  void Drain(absl::Duration) override {}

 private:
  struct Copy {
    engine::BackupInfo info;
    std::vector<engine::DocumentInput> documents;
  };
  absl::Status RunJob(engine::JobMonitor* monitor) const;

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<FakeBank>> banks_;
  std::map<std::string, Copy> backups_;
};

}  // namespace msa::server
