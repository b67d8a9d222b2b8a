#include "engine/memory/bank_store.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/documents/document_rules.h"
#include "engine/memory/memory_bank.h"
#include "engine/memory/segments/segment_format.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

constexpr absl::string_view kCreatingPrefix = ".creating-";
constexpr absl::string_view kRemovedPrefix = ".removed-";

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
  return kernels::Refusal(absl::StatusCode::kFailedPrecondition,
                          absl::StrCat("bank \"", bank.name, "\" belongs to ", Describe(own),
                                       "; this server runs ", Describe(server)),
                          "MODEL_MISMATCH", "bank",
                          {{"bank_model", own.model_fingerprint},
                           {"server_model", server.model_fingerprint},
                           {"bank_dtype", std::string(kernels::NameOf(own.dtype))},
                           {"server_dtype", std::string(kernels::NameOf(server.dtype))}});
}

absl::Status CheckOptions(const BankStoreOptions& options) {
  const MemoryGeometry& geometry = options.geometry;
  if (geometry.model_fingerprint.size() > kMaxFingerprintBytes ||
      geometry.instruction_set.size() > kMaxInstructionSetBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a model fingerprint has at most ", kMaxFingerprintBytes,
                     " bytes, the name of an instruction set ", kMaxInstructionSetBytes));
  }
  if (options.num_shards < 1) return absl::InvalidArgumentError("a bank has at least one shard");
  return LayOutSegment(geometry, 1, 1).status();
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Makes a directory and all above it, and syncs their entries; those that are there already too,
// since who made them may have been killed before that.
absl::Status MakeDurably(const std::string& path, FileSystem* files) {
  struct Directory {
    std::string parent;
    bool is_new = false;
  };
  std::vector<Directory> directories;
  for (std::string made = path; ParentOf(made) != made; made = ParentOf(made)) {
    directories.push_back({ParentOf(made), !files->Exists(made)});
  }
  MSA_RETURN_IF_ERROR(files->CreateDirectories(path));
  for (const Directory& directory : directories) {
    const absl::Status synced = files->SyncDirectory(directory.parent);
    // What is far above may belong to others, who let nobody read it.
    if (directory.is_new) MSA_RETURN_IF_ERROR(synced);
  }
  return absl::OkStatus();
}

class DirectoryBankStore : public BankStore {
 public:
  DirectoryBankStore(BankEnvironment environment, std::unique_ptr<FileLock> lock)
      : environment_(std::move(environment)),
        banks_directory_(absl::StrCat(environment_.options.data_dir, "/banks")),
        lock_(std::move(lock)) {}

  ~DirectoryBankStore() override {
    for (auto& [name, entry] : entries_) {
      if (entry.bank == nullptr) continue;
      entry.bank->Stop();
      entry.bank->CloseCatalog();
    }
  }

  absl::Status OpenBanks() {
    FileSystem* const files = environment_.files();
    MSA_RETURN_IF_ERROR(files->CreateDirectories(banks_directory_));
    MSA_RETURN_IF_ERROR(files->SyncDirectory(environment_.options.data_dir));
    // A killed process may have renamed a bank and not synced that: it would go, or come back in
    // parts.
    MSA_RETURN_IF_ERROR(files->SyncDirectory(banks_directory_));
    MSA_ASSIGN_OR_RETURN(const auto names, files->List(banks_directory_));
    for (const std::string& name : names) {
      const std::string directory = DirectoryOf(name);
      if (absl::StartsWith(name, kCreatingPrefix) || absl::StartsWith(name, kRemovedPrefix)) {
        MSA_RETURN_IF_ERROR(files->RemoveDirectoryTree(directory));
      } else if (CheckBankName(name).ok()) {
        entries_[name] = OpenEntry(name);
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::shared_ptr<Bank>> Create(const std::string& name,
                                               const BankSettings& settings) override {
    MSA_RETURN_IF_ERROR(CheckBankName(name));
    if (settings.token_budget < 0) {
      return kernels::Refusal(
          absl::StatusCode::kInvalidArgument,
          absl::StrCat("a token budget is at least 0, this one is ", settings.token_budget),
          "INVALID_TOKEN_BUDGET", "token_budget", {{"limit", "0"}});
    }
    const std::lock_guard lock(mutex_);
    if (entries_.contains(name)) {
      return kernels::Refusal(absl::StatusCode::kAlreadyExists,
                              absl::StrCat("bank \"", name, "\" is there already"), "BANK_EXISTS",
                              "bank");
    }
    MSA_RETURN_IF_ERROR(MakeDirectory(name, settings));
    Entry entry = OpenEntry(name);
    if (!entry.problem.ok()) return entry.problem;
    const std::shared_ptr<Bank> bank = entry.bank;
    entries_[name] = std::move(entry);
    return bank;
  }

  absl::StatusOr<std::shared_ptr<Bank>> Get(const std::string& name) const override {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(name);
    if (found == entries_.end() || found->second.is_leaving) return NotFound(name);
    if (!found->second.problem.ok()) return found->second.problem;
    return found->second.bank;
  }

  std::vector<BankInfo> List() const override {
    const std::lock_guard lock(mutex_);
    std::vector<BankInfo> infos;
    for (const auto& [name, entry] : entries_) {
      if (entry.is_leaving) continue;
      infos.push_back(entry.bank == nullptr ? entry.info : entry.bank->Info());
    }
    return infos;
  }

  absl::Status Delete(const std::string& name, bool force) override {
    std::string removed;
    std::shared_ptr<MemoryBank> bank;
    {
      const std::lock_guard lock(mutex_);
      const auto found = entries_.find(name);
      if (found == entries_.end() || found->second.is_leaving) return NotFound(name);
      MSA_RETURN_IF_ERROR(CheckRemovable(name, found->second, force));
      removed = DirectoryOf(absl::StrCat(kRemovedPrefix, num_removed_++, "-", name));
      bank = found->second.bank;
      found->second.is_leaving = true;
    }
    // Without the lock: callbacks of the bank may use the store.
    const absl::Status status = RemoveBank(name, removed, bank.get());
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(name);
    if (status.ok()) {
      entries_.erase(found);
    } else {
      found->second.is_leaving = false;
      found->second.problem =
          kernels::Prefixed(status, absl::StrCat("bank \"", name, "\" could not be removed"));
    }
    return status;
  }

  void Drain(absl::Duration grace) override {
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

 private:
  struct Entry {
    std::shared_ptr<MemoryBank> bank;  // null where `problem` is not ok
    absl::Status problem;
    BankInfo info;            // as far as it could be read
    bool is_leaving = false;  // being deleted: the name is taken, the bank is not there
  };

  static absl::Status NotFound(const std::string& name) {
    return kernels::Refusal(absl::StatusCode::kNotFound,
                            absl::StrCat("there is no bank \"", name, "\""), "BANK_NOT_FOUND",
                            "bank");
  }

  std::string DirectoryOf(const std::string& name) const {
    return absl::StrCat(banks_directory_, "/", name);
  }

  Entry OpenEntry(const std::string& name) {
    Entry entry;
    entry.info.name = name;
    entry.problem = OpenBank(name, &entry);
    if (!entry.problem.ok()) environment_.observer->ProblemFound(name, entry.problem);
    return entry;
  }

  absl::Status OpenBank(const std::string& name, Entry* entry) {
    const std::string directory = DirectoryOf(name);
    const std::string path = absl::StrCat(directory, "/", MemoryBank::kCatalogName);
    MSA_ASSIGN_OR_RETURN(auto catalog, Catalog::Open(*environment_.vfs, path));
    const CatalogSettings& settings = catalog->settings();
    entry->info = {.name = settings.name,
                   .settings = settings.bank,
                   .revision = settings.revision,
                   .create_time = settings.create_time,
                   .dtype = settings.geometry.dtype,
                   .model_fingerprint = settings.geometry.model_fingerprint};
    MSA_RETURN_IF_ERROR(CheckModel(settings, environment_.options.geometry));
    MSA_ASSIGN_OR_RETURN(entry->bank,
                         MemoryBank::Open(environment_, directory, std::move(catalog)));
    return absl::OkStatus();
  }

  // Complete under another name first: a bank is there as a whole or not at all.
  absl::Status MakeDirectory(const std::string& name, const BankSettings& settings) {
    FileSystem* const files = environment_.files();
    const std::string temporary = DirectoryOf(absl::StrCat(kCreatingPrefix, name));
    CatalogSettings catalog;
    catalog.name = name;
    catalog.bank = settings;
    catalog.create_time = environment_.clock->Now();
    catalog.geometry = environment_.options.geometry;
    const auto make = [&]() -> absl::Status {
      MSA_RETURN_IF_ERROR(files->RemoveDirectoryTree(temporary));
      MSA_RETURN_IF_ERROR(
          files->CreateDirectories(absl::StrCat(temporary, "/", MemoryBank::kSegmentsName)));
      MSA_RETURN_IF_ERROR(Catalog::Create(
          *environment_.vfs, absl::StrCat(temporary, "/", MemoryBank::kCatalogName), catalog));
      MSA_RETURN_IF_ERROR(files->SyncDirectory(temporary));
      MSA_RETURN_IF_ERROR(files->Rename(temporary, DirectoryOf(name)));
      return files->SyncDirectory(banks_directory_);
    };
    const absl::Status status = make();
    if (!status.ok()) files->RemoveDirectoryTree(temporary).IgnoreError();
    return status;
  }

  absl::Status RemoveBank(const std::string& name, const std::string& removed, MemoryBank* bank) {
    FileSystem* const files = environment_.files();
    if (bank != nullptr) {
      bank->Stop();
      MSA_RETURN_IF_ERROR(bank->MoveToBeRemoved(removed));
    } else {
      MSA_RETURN_IF_ERROR(files->Rename(DirectoryOf(name), removed));
    }
    MSA_RETURN_IF_ERROR(files->SyncDirectory(banks_directory_));
    if (bank == nullptr) files->RemoveDirectoryTree(removed).IgnoreError();
    return absl::OkStatus();
  }

  static absl::Status CheckRemovable(const std::string& name, const Entry& entry, bool force) {
    if (force) return absl::OkStatus();
    if (entry.bank == nullptr) {
      return kernels::Refusal(
          absl::StatusCode::kFailedPrecondition,
          absl::StrCat("bank \"", name,
                       "\" cannot be used here and may have documents; force removes it"),
          "BANK_NOT_EMPTY", "force");
    }
    const BankStats stats = entry.bank->Stats();
    const int64_t num_documents = stats.num_documents + stats.num_accepted + stats.num_failed;
    if (num_documents == 0) return absl::OkStatus();
    return kernels::Refusal(
        absl::StatusCode::kFailedPrecondition,
        absl::StrCat("bank \"", name, "\" has ", num_documents, " documents; force removes them"),
        "BANK_NOT_EMPTY", "force", {{"documents", absl::StrCat(num_documents)}});
  }

  const BankEnvironment environment_;
  const std::string banks_directory_;
  const std::unique_ptr<FileLock> lock_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;  // under mutex_
  int64_t num_removed_ = 0;               // under mutex_
};

}  // namespace

absl::StatusOr<std::unique_ptr<BankStore>> BankStore::Open(const BankStoreOptions& options,
                                                           DocumentEncoder* encoder,
                                                           FileSystem* files, Clock* clock,
                                                           MemoryObserver* observer) {
  static MemoryObserver* const no_observer = new MemoryObserver();
  MSA_RETURN_IF_ERROR(CheckOptions(options));
  MSA_RETURN_IF_ERROR(MakeDurably(options.data_dir, files));
  auto lock = files->Lock(absl::StrCat(options.data_dir, "/LOCK"));
  if (kernels::DetailOf(lock.status()).reason == "FILE_LOCKED") {
    return kernels::Refusal(
        absl::StatusCode::kFailedPrecondition,
        absl::StrCat("the data directory ", options.data_dir, " is in use by another server (",
                     lock.status().message(), ")"),
        "DATA_DIRECTORY_IN_USE");
  }
  if (!lock.ok()) return lock.status();
  BankEnvironment environment;
  environment.options = options;
  environment.encoder = encoder;
  environment.clock = clock;
  environment.observer = observer == nullptr ? no_observer : observer;
  environment.vfs = std::make_shared<CatalogVfs>(files);
  environment.router_key_budget =
      std::make_shared<Budget>("router key budget of the server", "bytes",
                               "ROUTER_KEY_BUDGET_EXCEEDED", options.router_key_budget_bytes);
  auto store = std::make_unique<DirectoryBankStore>(std::move(environment), *std::move(lock));
  MSA_RETURN_IF_ERROR(store->OpenBanks());
  return store;
}

}  // namespace msa::engine
