#include "engine/memory/directory_bank_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/memory/documents/document_rules.h"
#include "engine/memory/reencoding.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

absl::Status CheckRemovable(const std::string& name, const Bank* bank, bool force) {
  if (force) return absl::OkStatus();
  if (bank == nullptr) {
    return kernels::Refusal(
        absl::StatusCode::kFailedPrecondition,
        absl::StrCat("bank \"", name,
                     "\" cannot be used here and may have documents; force removes it"),
        "BANK_NOT_EMPTY", "force");
  }
  const BankStats stats = bank->Stats();
  const int64_t num_documents = stats.num_documents + stats.num_accepted + stats.num_failed;
  if (num_documents == 0) return absl::OkStatus();
  return kernels::Refusal(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat("bank \"", name, "\" has ", num_documents, " documents; force removes them"),
      "BANK_NOT_EMPTY", "force", {{"documents", absl::StrCat(num_documents)}});
}

// New changes are refused; this waits for those that were taken before.
absl::Status WaitUntilUnchanging(MemoryBank* bank, JobMonitor* monitor) {
  while (!bank->WaitIdle(absl::Milliseconds(50))) {
    MSA_RETURN_IF_ERROR(bank->write_failure());
    monitor->Progress(
        {.phase = "pending changes", .unit = "documents", .done = 0, .total = 0, .bytes = 0});
    MSA_RETURN_IF_ERROR(CheckCancelled(*monitor));
  }
  return bank->write_failure();
}

}  // namespace

DirectoryBankStore::DirectoryBankStore(BankEnvironment environment, std::unique_ptr<FileLock> lock)
    : environment_(std::move(environment)),
      lock_(std::move(lock)),
      directories_(environment_.options.data_dir, environment_.vfs.get()),
      backups_(environment_.options.backup_dir, environment_.vfs.get()),
      registry_(&environment_, &directories_) {
  environment_.make_room = [this](int64_t num_bytes) { registry_.TryMakeRoom(num_bytes); };
}

absl::Status DirectoryBankStore::Start() {
  MSA_RETURN_IF_ERROR(directories_.Recover());
  MSA_RETURN_IF_ERROR(backups_.Prepare());
  MSA_ASSIGN_OR_RETURN(const auto names, directories_.List());
  for (const std::string& name : names) registry_.AddAtStart(name);
  scrubber_ = std::make_unique<Scrubber>(
      environment_.options,
      Scrubber::Source{.banks = [this] { return registry_.List(); },
                       .find = [this](const std::string& name) { return registry_.FindOpen(name); },
                       .wants_room = [this] { return registry_.wants_room(); }},
      environment_.observer);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Bank>> DirectoryBankStore::Create(const std::string& name,
                                                                 const BankSettings& settings) {
  MSA_RETURN_IF_ERROR(CheckBankName(name));
  MSA_RETURN_IF_ERROR(CheckBankSettings(settings));
  MSA_RETURN_IF_ERROR(registry_.Reserve(name));
  const absl::Status made = directories_.Create(name, {.name = name,
                                                       .bank = settings,
                                                       .create_time = environment_.clock->Now(),
                                                       .geometry = environment_.options.geometry});
  if (!made.ok()) {
    registry_.Forget(name);
    return made;
  }
  registry_.Open(name);
  return registry_.Get(name);
}

absl::StatusOr<std::shared_ptr<Bank>> DirectoryBankStore::Get(const std::string& name) {
  return registry_.Get(name);
}

std::vector<BankInfo> DirectoryBankStore::List() const { return registry_.List(); }

std::vector<std::shared_ptr<Bank>> DirectoryBankStore::OpenBanks() const {
  const auto banks = registry_.OpenBanks();
  return {banks.begin(), banks.end()};
}

absl::Status DirectoryBankStore::Delete(const std::string& name, bool force) {
  MSA_ASSIGN_OR_RETURN(
      std::shared_ptr<MemoryBank> bank,
      registry_.Hide(name, [&](const Bank* found) { return CheckRemovable(name, found, force); }));
  const absl::Status status = RemoveBank(name, bank.get());
  if (status.ok()) {
    registry_.Forget(name);
  } else {
    registry_.ShowWithProblem(
        name, kernels::Prefixed(status, absl::StrCat("bank \"", name, "\" could not be removed")));
  }
  return status;
}

absl::Status DirectoryBankStore::RemoveBank(const std::string& name, MemoryBank* bank) {
  FileSystem* const files = environment_.files();
  // What was to take the bank's place must not come back in it.
  MSA_RETURN_IF_ERROR(directories_.DiscardReplacement(name));
  const std::string removed = directories_.NewRemovedPath(name);
  if (bank == nullptr && !directories_.Exists(name)) return absl::OkStatus();
  if (bank != nullptr) {
    bank->Stop();
    MSA_RETURN_IF_ERROR(bank->MoveToBeRemoved(removed));
  } else {
    MSA_RETURN_IF_ERROR(files->Rename(directories_.PathOf(name), removed));
  }
  MSA_RETURN_IF_ERROR(directories_.SyncParent());
  if (bank == nullptr) files->RemoveDirectoryTree(removed).IgnoreError();
  return absl::OkStatus();
}

absl::StatusOr<BackupInfo> DirectoryBankStore::Backup(const std::string& bank,
                                                      const std::string& backup,
                                                      JobMonitor* monitor) {
  MSA_ASSIGN_OR_RETURN(const auto job, registry_.BeginJob(bank));
  MemoryBank* const source = job->entry().bank.get();
  if (source == nullptr) return job->entry().problem;
  MSA_ASSIGN_OR_RETURN(const auto lease, source->LeaseCatalog());
  return backups_.Write(backup, *lease.catalog, source->segments(), environment_.clock->Now(),
                        monitor);
}

absl::StatusOr<std::vector<BackupInfo>> DirectoryBankStore::Backups() const {
  return backups_.List();
}

absl::Status DirectoryBankStore::DeleteBackup(const std::string& backup) {
  return backups_.Delete(backup);
}

absl::StatusOr<BankInfo> DirectoryBankStore::Restore(const std::string& backup,
                                                     const std::string& bank, JobMonitor* monitor) {
  MSA_ASSIGN_OR_RETURN(const BackupInfo info, backups_.Info(backup));
  const std::string name = bank.empty() ? info.bank : bank;
  MSA_RETURN_IF_ERROR(CheckBankName(name));
  MSA_RETURN_IF_ERROR(registry_.Reserve(name));
  const absl::Status restored = RestoreFiles(backup, name, monitor);
  if (!restored.ok()) {
    registry_.Forget(name);
    return restored;
  }
  const BankRegistry::Entry entry = registry_.Open(name);
  if (!entry.problem.ok() && !IsOfAnotherModel(entry.problem)) return entry.problem;
  return entry.bank == nullptr ? entry.info : entry.bank->Info();
}

absl::Status DirectoryBankStore::RestoreFiles(const std::string& backup, const std::string& bank,
                                              JobMonitor* monitor) {
  return directories_.CreateFrom(bank, [&](const std::string& directory) -> absl::Status {
    MSA_RETURN_IF_ERROR(backups_.CopyTo(backup, directory, monitor));
    MSA_ASSIGN_OR_RETURN(
        const auto catalog,
        Catalog::Open(*environment_.vfs, absl::StrCat(directory, "/", Catalog::kFileName)));
    CatalogSettings settings = catalog->settings();
    settings.name = bank;
    MSA_RETURN_IF_ERROR(catalog->Begin());
    const absl::Status written = catalog->PutSettings(settings);
    if (written.ok()) return catalog->Commit();
    catalog->Rollback();
    return written;
  });
}

absl::StatusOr<BankInfo> DirectoryBankStore::Reencode(const std::string& name,
                                                      JobMonitor* monitor) {
  MSA_ASSIGN_OR_RETURN(const auto job, registry_.BeginJob(name));
  MemoryBank* const old = job->entry().bank.get();
  if (old == nullptr && !IsOfAnotherModel(job->entry().problem)) return job->entry().problem;
  if (old != nullptr) {
    old->RefuseChanges(kernels::Refusal(
        absl::StatusCode::kUnavailable,
        absl::StrCat("bank \"", name, "\" takes no changes while it is encoded again"),
        "BANK_REENCODING", "", {}, absl::Seconds(1)));
  }
  const absl::Status status = Rebuild(name, old, monitor);
  if (!status.ok()) {
    directories_.DiscardReplacement(name).IgnoreError();
    if (old != nullptr) old->RefuseChanges(absl::OkStatus());
    return status;
  }
  const absl::Status replaced = Replace(name, old);
  if (!replaced.ok()) {
    const absl::Status problem = kernels::Prefixed(
        replaced,
        absl::StrCat("bank \"", name, "\" was encoded again, but opens with the next start"));
    registry_.ShowWithProblem(name, problem);
    return problem;
  }
  const BankRegistry::Entry entry = registry_.Open(name);
  if (!entry.problem.ok()) return entry.problem;
  return entry.bank == nullptr ? entry.info : entry.bank->Info();
}

// Queries that hold the old bank keep what they read; it takes nothing more.
absl::Status DirectoryBankStore::Replace(const std::string& name, MemoryBank* old) {
  if (old != nullptr) old->Stop();
  const absl::Status committed = directories_.CommitReplacement(name);
  if (!committed.ok()) {  // or not: the next start knows
    if (old != nullptr) old->CloseCatalog();
    return committed;
  }
  if (old != nullptr) {
    MSA_RETURN_IF_ERROR(old->MoveToBeRemoved(directories_.NewRemovedPath(name)));
  }
  return directories_.FinishReplacement(name);
}

absl::Status DirectoryBankStore::Rebuild(const std::string& name, MemoryBank* bank,
                                         JobMonitor* monitor) {
  if (bank != nullptr) {
    MSA_RETURN_IF_ERROR(WaitUntilUnchanging(bank, monitor));
    MSA_ASSIGN_OR_RETURN(const auto lease, bank->LeaseCatalog());
    MSA_ASSIGN_OR_RETURN(const CatalogSettings settings, lease.catalog->ReadSettings());
    return FillReplacement(name, *lease.catalog, settings, monitor);
  }
  MSA_ASSIGN_OR_RETURN(const auto catalog,
                       Catalog::Open(*environment_.vfs, directories_.CatalogOf(name)));
  return FillReplacement(name, *catalog, catalog->settings(), monitor);
}

// The replacement, complete and closed.
absl::Status DirectoryBankStore::FillReplacement(const std::string& name, const CatalogReader& from,
                                                 const CatalogSettings& settings,
                                                 JobMonitor* monitor) {
  CatalogSettings fresh = settings;
  fresh.geometry = environment_.options.geometry;
  fresh.next_number = 0;
  MSA_ASSIGN_OR_RETURN(const std::string directory, directories_.BeginReplacement(name, fresh));
  const std::string path = absl::StrCat(directory, "/", Catalog::kFileName);
  uint64_t revision = 0;
  {
    MSA_ASSIGN_OR_RETURN(auto catalog, Catalog::Open(*environment_.vfs, path));
    MSA_ASSIGN_OR_RETURN(const auto bank,
                         MemoryBank::Open(environment_, directory, std::move(catalog)));
    const absl::Status status = Reencoding(&from, bank.get(), environment_.observer, monitor).Run();
    revision = bank->Info().revision;
    bank->Stop();
    bank->CloseCatalog();
    MSA_RETURN_IF_ERROR(status);
  }
  MSA_ASSIGN_OR_RETURN(const auto catalog, Catalog::Open(*environment_.vfs, path));
  MSA_RETURN_IF_ERROR(catalog->Begin());
  const uint64_t next_number = std::max(settings.next_number, catalog->settings().next_number);
  revision = std::max({revision, settings.revision, catalog->settings().revision}) + 1;
  const absl::Status written = catalog->PutCounters(next_number, revision);
  if (written.ok()) return catalog->Commit();
  catalog->Rollback();
  return written;
}

void DirectoryBankStore::Drain(absl::Duration grace) {
  const auto banks = registry_.OpenBanks();
  for (const auto& bank : banks) bank->RefuseIngest();
  const absl::Time end = absl::Now() + grace;
  for (const auto& bank : banks) {
    bank->WaitIdle(std::max(end - absl::Now(), absl::ZeroDuration()));
  }
}

}  // namespace msa::engine
