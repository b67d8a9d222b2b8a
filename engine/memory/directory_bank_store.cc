#include "engine/memory/directory_bank_store.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/memory/documents/document_rules.h"
#include "engine/memory/reencoding.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

constexpr absl::Duration kWaitForIdle = absl::Milliseconds(500);

std::string Describe(const MemoryGeometry& geometry) {
  return absl::StrCat("model ", geometry.model_fingerprint, " with ", geometry.num_msa_layers,
                      " layers of width ", geometry.kv_width, ", ", geometry.tokens_per_chunk,
                      " tokens per chunk, in ", kernels::ToAbsl(kernels::NameOf(geometry.dtype)));
}

absl::Status CheckModel(const CatalogSettings& bank, const MemoryGeometry& server) {
  const MemoryGeometry& own = bank.geometry;
  if (own.model_fingerprint == server.model_fingerprint && own.dtype == server.dtype &&
      own.num_msa_layers == server.num_msa_layers && own.kv_width == server.kv_width &&
      own.tokens_per_chunk == server.tokens_per_chunk) {
    return absl::OkStatus();
  }
  return kernels::Refusal(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat("bank \"", bank.name, "\" belongs to ", Describe(own), "; this server runs ",
                   Describe(server), ". Encode it again (ReencodeBank) to use it here"),
      "MODEL_MISMATCH", "bank",
      {{"bank_model", own.model_fingerprint},
       {"server_model", server.model_fingerprint},
       {"bank_dtype", std::string(kernels::NameOf(own.dtype))},
       {"server_dtype", std::string(kernels::NameOf(server.dtype))}});
}

bool IsOfAnotherModel(const absl::Status& problem) {
  return kernels::DetailOf(problem).reason == "MODEL_MISMATCH";
}

BankInfo InfoFrom(const CatalogSettings& settings) {
  return {.name = settings.name,
          .settings = settings.bank,
          .revision = settings.revision,
          .create_time = settings.create_time,
          .dtype = settings.geometry.dtype,
          .model_fingerprint = settings.geometry.model_fingerprint};
}

absl::Status NoBank(const std::string& name) {
  return kernels::Refusal(absl::StatusCode::kNotFound,
                          absl::StrCat("there is no bank \"", name, "\""), "BANK_NOT_FOUND",
                          "bank");
}

absl::Status BankExists(const std::string& name) {
  return kernels::Refusal(absl::StatusCode::kAlreadyExists,
                          absl::StrCat("bank \"", name, "\" is there already"), "BANK_EXISTS",
                          "bank");
}

absl::Status NoRoom(const std::string& name) {
  return kernels::Refusal(
      absl::StatusCode::kResourceExhausted,
      absl::StrCat("bank \"", name, "\" is closed and the banks that are open are all in use"),
      "ROUTER_KEY_BUDGET_EXCEEDED", "bank", {}, absl::Seconds(1));
}

absl::Status BankBusy(const std::string& name) {
  return kernels::Refusal(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat("bank \"", name, "\" is being backed up or encoded again; wait or cancel that"),
      "BANK_BUSY", "bank");
}

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

}  // namespace

// While it lives, the bank stays and no other job touches it. Mutex held by nobody.
class DirectoryBankStore::Job {
 public:
  static absl::StatusOr<std::unique_ptr<Job>> Begin(DirectoryBankStore* store,
                                                    const std::string& name) {
    store->Get(name).IgnoreError();  // a job finds an open bank, or one with a problem
    std::unique_lock lock(store->mutex_);
    MSA_ASSIGN_OR_RETURN(Entry* const entry, store->Find(name, &lock));
    if (entry->has_job) return BankBusy(name);
    if (entry->bank == nullptr && entry->problem.ok()) return NoRoom(name);
    entry->has_job = true;
    return std::unique_ptr<Job>(new Job(store, name, *entry));
  }
  ~Job() {
    const std::lock_guard lock(store_->mutex_);
    store_->entries_.at(name_).has_job = false;
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  const Entry& entry() const { return entry_; }  // as it was when the job began

 private:
  Job(DirectoryBankStore* store, std::string name, Entry entry)
      : store_(store), name_(std::move(name)), entry_(std::move(entry)) {}

  DirectoryBankStore* const store_;
  const std::string name_;
  const Entry entry_;
};

DirectoryBankStore::DirectoryBankStore(BankEnvironment environment, std::unique_ptr<FileLock> lock)
    : environment_(std::move(environment)),
      lock_(std::move(lock)),
      directories_(environment_.options.data_dir, environment_.vfs.get()),
      backups_(environment_.options.backup_dir, environment_.vfs.get()) {}

DirectoryBankStore::~DirectoryBankStore() {
  scrubber_.reset();
  for (auto& [name, entry] : entries_) {
    if (entry.bank == nullptr) continue;
    entry.bank->Stop();
    entry.bank->CloseCatalog();
  }
}

absl::Status DirectoryBankStore::Start() {
  MSA_RETURN_IF_ERROR(directories_.Recover());
  MSA_ASSIGN_OR_RETURN(const auto names, directories_.List());
  for (const std::string& name : names) {
    absl::Status refusal;
    entries_[name] = OpenEntry(
        name,
        [this](int64_t num_bytes) { return environment_.router_key_budget->Check(num_bytes); },
        &refusal);
  }
  scrubber_ = std::make_unique<Scrubber>(
      environment_.options, [this] { return OpenBanks(); }, environment_.observer);
  return absl::OkStatus();
}

DirectoryBankStore::Entry DirectoryBankStore::OpenEntry(const std::string& name,
                                                        MakeRoomFor make_room,
                                                        absl::Status* refusal) {
  Entry entry;
  entry.info.name = name;
  entry.last_use = absl::Now();
  entry.problem = OpenBank(name, make_room, refusal, &entry);
  if (!entry.problem.ok()) environment_.observer->ProblemFound(name, entry.problem);
  return entry;
}

DirectoryBankStore::Entry DirectoryBankStore::OpenEntry(const std::string& name) {
  absl::Status refusal;
  return OpenEntry(
      name, [](int64_t) { return absl::OkStatus(); }, &refusal);
}

absl::Status DirectoryBankStore::OpenBank(const std::string& name, MakeRoomFor make_room,
                                          absl::Status* refusal, Entry* entry) {
  MSA_ASSIGN_OR_RETURN(auto catalog,
                       Catalog::Open(*environment_.vfs, directories_.CatalogOf(name)));
  const CatalogSettings& settings = catalog->settings();
  entry->info = InfoFrom(settings);
  MSA_RETURN_IF_ERROR(CheckModel(settings, environment_.options.geometry));
  MSA_ASSIGN_OR_RETURN(const int64_t num_bytes, catalog->EstimateResidentBytes(settings));
  *refusal = make_room(num_bytes);
  if (!refusal->ok()) return absl::OkStatus();
  MSA_ASSIGN_OR_RETURN(
      entry->bank, MemoryBank::Open(environment_, directories_.PathOf(name), std::move(catalog)));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Bank>> DirectoryBankStore::Create(const std::string& name,
                                                                 const BankSettings& settings) {
  MSA_RETURN_IF_ERROR(CheckBankName(name));
  MSA_RETURN_IF_ERROR(CheckBankSettings(settings));
  const std::lock_guard lock(mutex_);
  if (entries_.contains(name)) return BankExists(name);
  MSA_RETURN_IF_ERROR(directories_.Create(name, {.name = name,
                                                 .bank = settings,
                                                 .create_time = environment_.clock->Now(),
                                                 .geometry = environment_.options.geometry}));
  Entry entry = OpenEntry(name);
  if (!entry.problem.ok()) return entry.problem;
  const std::shared_ptr<Bank> bank = entry.bank;
  entries_[name] = std::move(entry);
  return bank;
}

absl::StatusOr<DirectoryBankStore::Entry*> DirectoryBankStore::Find(
    const std::string& name, std::unique_lock<std::mutex>* lock) {
  while (true) {
    const auto found = entries_.find(name);
    if (found == entries_.end() || found->second.is_hidden) return NoBank(name);
    if (!found->second.is_changing) return &found->second;
    changed_.wait(*lock);
  }
}

absl::StatusOr<std::shared_ptr<Bank>> DirectoryBankStore::Get(const std::string& name) {
  std::unique_lock lock(mutex_);
  while (true) {
    MSA_ASSIGN_OR_RETURN(Entry* const entry, Find(name, &lock));
    if (!entry->problem.ok()) return entry->problem;
    if (entry->bank != nullptr) {
      entry->last_use = absl::Now();
      return entry->bank;
    }
    MSA_RETURN_IF_ERROR(OpenClosed(name, &lock));
  }
}

// Without the lock while it reads, so that other banks are served.
absl::Status DirectoryBankStore::OpenClosed(const std::string& name,
                                            std::unique_lock<std::mutex>* lock) {
  entries_.at(name).is_changing = true;
  lock->unlock();
  absl::Status refusal;
  Entry opened = OpenEntry(
      name,
      [&](int64_t num_bytes) {
        std::unique_lock relock(mutex_);
        return MakeRoom(num_bytes, &relock);
      },
      &refusal);
  lock->lock();
  Entry& entry = entries_.at(name);
  opened.has_job = entry.has_job;
  entry = std::move(opened);
  changed_.notify_all();
  return refusal;
}

absl::Status DirectoryBankStore::MakeRoom(int64_t num_bytes, std::unique_lock<std::mutex>* lock) {
  const absl::Time give_up = absl::Now() + kWaitForIdle;
  while (true) {
    const absl::Status status = environment_.router_key_budget->Check(num_bytes);
    if (status.ok()) return status;
    if (CloseOneIdle(lock)) continue;
    // What nobody holds is idle soon, unless it encodes.
    const bool may_be_idle_soon =
        std::any_of(entries_.begin(), entries_.end(), [](const auto& entry) {
          return entry.second.bank.use_count() == 1 && !entry.second.has_job;
        });
    if (may_be_idle_soon && absl::Now() < give_up) {
      lock->unlock();
      absl::SleepFor(kWaitForIdle / 50);
      lock->lock();
      continue;
    }
    const bool is_alone = std::none_of(entries_.begin(), entries_.end(), [](const auto& entry) {
      return entry.second.bank != nullptr;
    });
    if (is_alone) return absl::OkStatus();  // as ever: what is stored is served
    kernels::ErrorDetail detail = kernels::DetailOf(status);
    detail.retry_after = absl::Seconds(1);
    return kernels::WithDetail(
        absl::ResourceExhaustedError(absl::StrCat(
            "the bank is closed and the banks that are open are all in use: ", status.message())),
        detail);
  }
}

bool DirectoryBankStore::CloseOneIdle(std::unique_lock<std::mutex>* lock) {
  Entry* oldest = nullptr;
  std::string name;
  for (auto& [entry_name, entry] : entries_) {
    const bool is_idle = entry.bank != nullptr && entry.bank.use_count() == 1 && !entry.has_job &&
                         !entry.is_hidden && !entry.is_changing &&
                         entry.bank->WaitIdle(absl::ZeroDuration());
    if (!is_idle || (oldest != nullptr && oldest->last_use <= entry.last_use)) continue;
    oldest = &entry;
    name = entry_name;
  }
  if (oldest == nullptr) return false;
  oldest->is_changing = true;
  oldest->info = oldest->bank->Info();
  std::shared_ptr<MemoryBank> bank = std::move(oldest->bank);
  oldest->bank = nullptr;
  lock->unlock();
  bank->Stop();
  bank->CloseCatalog();
  bank.reset();
  lock->lock();
  entries_.at(name).is_changing = false;
  changed_.notify_all();
  return true;
}

std::vector<BankInfo> DirectoryBankStore::List() const {
  const std::lock_guard lock(mutex_);
  std::vector<BankInfo> infos;
  for (const auto& [name, entry] : entries_) {
    if (entry.is_hidden) continue;
    infos.push_back(entry.bank == nullptr ? entry.info : entry.bank->Info());
  }
  return infos;
}

std::vector<std::shared_ptr<Bank>> DirectoryBankStore::OpenBanks() const {
  std::vector<std::shared_ptr<Bank>> banks;
  const std::lock_guard lock(mutex_);
  for (const auto& [name, entry] : entries_) {
    if (entry.bank != nullptr && !entry.is_hidden) banks.push_back(entry.bank);
  }
  return banks;
}

absl::Status DirectoryBankStore::Delete(const std::string& name, bool force) {
  if (!force) Get(name).IgnoreError();  // a closed bank cannot say whether it has documents
  std::shared_ptr<MemoryBank> bank;
  {
    std::unique_lock lock(mutex_);
    MSA_ASSIGN_OR_RETURN(Entry* const entry, Find(name, &lock));
    if (entry->has_job) return BankBusy(name);
    MSA_RETURN_IF_ERROR(CheckRemovable(name, entry->bank.get(), force));
    bank = entry->bank;
    entry->is_hidden = true;
  }
  // Without the lock: callbacks of the bank may use the store.
  const absl::Status status = RemoveBank(name, bank.get());
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (status.ok()) {
    entries_.erase(found);
  } else {
    found->second.is_hidden = false;
    found->second.problem =
        kernels::Prefixed(status, absl::StrCat("bank \"", name, "\" could not be removed"));
  }
  return status;
}

absl::Status DirectoryBankStore::RemoveBank(const std::string& name, MemoryBank* bank) {
  FileSystem* const files = environment_.files();
  const std::string removed = directories_.NewRemovedPath(name);
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
  MSA_ASSIGN_OR_RETURN(const auto job, Job::Begin(this, bank));
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
  {
    const std::lock_guard lock(mutex_);
    if (entries_.contains(name)) return BankExists(name);
    entries_[name].is_hidden = true;
  }
  Entry entry;
  absl::Status status = RestoreFiles(backup, name, monitor);
  if (status.ok()) entry = OpenEntry(name);
  const std::lock_guard lock(mutex_);
  if (!status.ok()) {
    entries_.erase(name);
    return status;
  }
  entries_[name] = entry;
  if (!entry.problem.ok() && !IsOfAnotherModel(entry.problem)) return entry.problem;
  return entry.bank == nullptr ? entry.info : entry.bank->Info();
}

absl::Status DirectoryBankStore::RestoreFiles(const std::string& backup, const std::string& bank,
                                              JobMonitor* monitor) {
  return directories_.CreateFrom(bank, [&](const std::string& directory) -> absl::Status {
    MSA_RETURN_IF_ERROR(backups_.CopyTo(backup, directory, monitor));
    MSA_ASSIGN_OR_RETURN(
        const auto catalog,
        Catalog::Open(*environment_.vfs,
                      absl::StrCat(directory, "/", BackupDirectory::kCatalogName)));
    CatalogSettings settings = catalog->settings();
    settings.name = bank;
    MSA_RETURN_IF_ERROR(catalog->Begin());
    const absl::Status written = catalog->PutSettings(settings);
    if (written.ok()) return catalog->Commit();
    catalog->Rollback();
    return written;
  });
}

absl::StatusOr<BankInfo> DirectoryBankStore::Reencode(const std::string& bank,
                                                      JobMonitor* monitor) {
  MSA_ASSIGN_OR_RETURN(const auto job, Job::Begin(this, bank));
  const Entry& old = job->entry();
  if (old.bank == nullptr && !IsOfAnotherModel(old.problem)) return old.problem;
  if (old.bank != nullptr) {
    old.bank->RefuseChanges(kernels::Refusal(
        absl::StatusCode::kUnavailable,
        absl::StrCat("bank \"", bank, "\" takes no changes while it is encoded again"),
        "BANK_REENCODING", "", {}, absl::Seconds(10)));
  }
  const absl::Status status = Rebuild(bank, old, monitor);
  if (!status.ok()) {
    directories_.AbandonReplacement(bank);
    if (old.bank != nullptr) old.bank->RefuseChanges(absl::OkStatus());
    return status;
  }
  // From here on the old bank goes.
  if (old.bank != nullptr) {
    old.bank->Stop();
    old.bank->CloseCatalog();
  }
  const absl::Status replaced = directories_.Replace(bank);
  Entry entry;
  if (replaced.ok()) {
    entry = OpenEntry(bank);
  } else {
    entry.info = old.info;
    entry.problem = kernels::Prefixed(
        replaced,
        absl::StrCat("bank \"", bank, "\" was encoded again and opens with the next start"));
  }
  entry.has_job = true;  // until `job` goes
  const std::lock_guard lock(mutex_);
  entries_[bank] = entry;
  if (!entry.problem.ok()) return entry.problem;
  return entry.bank->Info();
}

absl::Status DirectoryBankStore::Rebuild(const std::string& name, const Entry& entry,
                                         JobMonitor* monitor) {
  if (entry.bank != nullptr) {
    MSA_ASSIGN_OR_RETURN(const auto lease, entry.bank->LeaseCatalog());
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
  const std::string path = absl::StrCat(directory, "/", MemoryBank::kCatalogName);
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
  std::vector<std::shared_ptr<MemoryBank>> banks;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, entry] : entries_) {
      if (entry.bank != nullptr) banks.push_back(entry.bank);
    }
  }
  for (const auto& bank : banks) bank->RefuseIngest();
  const absl::Time end = absl::Now() + grace;
  for (const auto& bank : banks) {
    bank->WaitIdle(std::max(end - absl::Now(), absl::ZeroDuration()));
  }
}

}  // namespace msa::engine
