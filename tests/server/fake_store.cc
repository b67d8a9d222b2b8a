#include "tests/server/fake_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "kernels/core/error_detail.h"

namespace msa::server {
namespace {

absl::Status StoreError(absl::Status status, const std::string& reason, const std::string& key,
                        const std::string& name) {
  return kernels::WithDetail(
      std::move(status),
      {.reason = reason, .field = "", .metadata = {{key, name}}, .retry_after = {}});
}

absl::Status NoSuchBackup(const std::string& name) {
  return StoreError(absl::NotFoundError(absl::StrCat("there is no backup \"", name, "\"")),
                    "BACKUP_NOT_FOUND", "backup", name);
}

std::vector<engine::DocumentInput> DocumentsOf(const engine::Bank& bank) {
  std::vector<engine::DocumentInput> documents;
  absl::StatusOr<engine::DocumentPage> page = bank.List("", 1'000'000, true, nullptr);
  for (engine::DocumentInfo& info : page->documents) {
    documents.push_back({std::move(info.id), std::move(info.text), std::move(info.metadata), {}});
  }
  return documents;
}

}  // namespace

std::shared_ptr<FakeBank> FakeStore::Find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = banks_.find(name);
  return found == banks_.end() ? nullptr : found->second;
}

absl::StatusOr<std::shared_ptr<engine::Bank>> FakeStore::Create(
    const std::string& name, const engine::BankSettings& settings) {
  const std::lock_guard lock(mutex_);
  if (banks_.contains(name)) {
    return StoreError(
        absl::AlreadyExistsError(absl::StrCat("bank \"", name, "\" is there already")),
        "BANK_EXISTS", "bank", name);
  }
  auto bank = std::make_shared<FakeBank>(name, settings);
  banks_[name] = bank;
  return std::shared_ptr<engine::Bank>(bank);
}

absl::StatusOr<std::shared_ptr<engine::Bank>> FakeStore::Get(const std::string& name) {
  if (std::shared_ptr<FakeBank> bank = Find(name)) return std::shared_ptr<engine::Bank>(bank);
  return StoreError(absl::NotFoundError(absl::StrCat("there is no bank \"", name, "\"")),
                    "BANK_NOT_FOUND", "bank", name);
}

std::vector<engine::BankInfo> FakeStore::List() const {
  const std::lock_guard lock(mutex_);
  std::vector<engine::BankInfo> infos;
  for (const auto& [name, bank] : banks_) infos.push_back(bank->Info());
  return infos;
}

std::vector<std::shared_ptr<engine::Bank>> FakeStore::OpenBanks() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<engine::Bank>> banks;
  for (const auto& [name, bank] : banks_) banks.push_back(bank);
  return banks;
}

absl::Status FakeStore::Delete(const std::string& name, bool force) {
  absl::StatusOr<std::shared_ptr<engine::Bank>> bank = Get(name);
  if (!bank.ok()) return bank.status();
  if (!force && (*bank)->Stats().num_documents > 0) {
    return StoreError(
        absl::FailedPreconditionError("the bank has documents; say force to delete them too"),
        "BANK_NOT_EMPTY", "bank", name);
  }
  std::shared_ptr<FakeBank> removed;  // ends after the lock
  const std::lock_guard lock(mutex_);
  removed = std::move(banks_[name]);
  banks_.erase(name);
  return absl::OkStatus();
}

absl::Status FakeStore::RunJob(engine::JobMonitor* monitor) const {
  return job == nullptr ? absl::OkStatus() : job(monitor);
}

absl::StatusOr<engine::BackupInfo> FakeStore::Backup(const std::string& bank,
                                                     const std::string& backup,
                                                     engine::JobMonitor* monitor) {
  const absl::StatusOr<std::shared_ptr<engine::Bank>> source = Get(bank);
  if (!source.ok()) return source.status();
  const absl::Status done = RunJob(monitor);
  if (!done.ok()) return done;
  const std::lock_guard lock(mutex_);
  if (backups_.contains(backup)) {
    return StoreError(
        absl::AlreadyExistsError(absl::StrCat("backup \"", backup, "\" is there already")),
        "BACKUP_EXISTS", "backup", backup);
  }
  Copy& copy = backups_[backup];
  copy.documents = DocumentsOf(**source);
  copy.info = {.name = backup,
               .bank = bank,
               .revision = (*source)->Info().revision,
               .create_time = absl::FromUnixSeconds(1'700'000'002),
               .num_documents = static_cast<int64_t>(copy.documents.size()),
               .file_bytes = 12345,
               .model_fingerprint = "fake"};
  return copy.info;
}

absl::StatusOr<engine::BankInfo> FakeStore::Restore(const std::string& backup,
                                                    const std::string& bank,
                                                    engine::JobMonitor* monitor) {
  Copy copy;
  {
    const std::lock_guard lock(mutex_);
    const auto found = backups_.find(backup);
    if (found == backups_.end()) return NoSuchBackup(backup);
    copy = found->second;
  }
  const absl::Status done = RunJob(monitor);
  if (!done.ok()) return done;
  const auto made = Create(bank.empty() ? copy.info.bank : bank, {});
  if (!made.ok()) return made.status();
  for (engine::DocumentInput& document : copy.documents) {
    absl::Notification stored;
    (*made)->Ingest(std::move(document), engine::IngestMode::kInsert,
                    engine::AcknowledgeAt::kActive,
                    [&stored](const engine::IngestResult&) { stored.Notify(); });
    stored.WaitForNotification();
  }
  return (*made)->Info();
}

absl::StatusOr<std::vector<engine::BackupInfo>> FakeStore::Backups() const {
  const std::lock_guard lock(mutex_);
  std::vector<engine::BackupInfo> infos;
  for (const auto& [name, copy] : backups_) infos.push_back(copy.info);
  return infos;
}

absl::Status FakeStore::DeleteBackup(const std::string& backup) {
  const std::lock_guard lock(mutex_);
  return backups_.erase(backup) > 0 ? absl::OkStatus() : NoSuchBackup(backup);
}

absl::StatusOr<engine::BankInfo> FakeStore::Reencode(const std::string& bank,
                                                     engine::JobMonitor* monitor) {
  const absl::StatusOr<std::shared_ptr<engine::Bank>> found = Get(bank);
  if (!found.ok()) return found.status();
  const absl::Status done = RunJob(monitor);
  if (!done.ok()) return done;
  return (*found)->Info();
}

}  // namespace msa::server
