#include "engine/memory/bank_directories.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/memory/documents/document_rules.h"
#include "engine/memory/segments/segment_files.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

constexpr absl::string_view kCreatingPrefix = ".creating-";
constexpr absl::string_view kReplacingPrefix = ".replacing-";  // being built
constexpr absl::string_view kReplacedPrefix = ".replaced-";    // complete, about to be NAME
constexpr absl::string_view kRemovedPrefix = ".removed-";

}  // namespace

std::string BankDirectories::PathOf(const std::string& name) const {
  return absl::StrCat(banks_, "/", name);
}

std::string BankDirectories::CatalogOf(const std::string& name) const {
  return absl::StrCat(PathOf(name), "/", Catalog::kFileName);
}

bool BankDirectories::Exists(const std::string& name) const {
  return files()->Exists(PathOf(name));
}

absl::Status BankDirectories::Recover() {
  MSA_ASSIGN_OR_RETURN(const auto data_names, files()->List(data_dir_));
  for (const std::string& name : data_names) {
    if (!absl::StartsWith(name, kernels::ToAbsl(CatalogVfs::kTemporaryPrefix))) continue;
    MSA_RETURN_IF_ERROR(files()->Remove(absl::StrCat(data_dir_, "/", name)));
  }
  MSA_RETURN_IF_ERROR(files()->CreateDirectories(banks_));
  MSA_RETURN_IF_ERROR(files()->SyncDirectory(data_dir_));
  // A killed process may have renamed a bank and not synced that: it would go, or come back in
  // parts.
  MSA_RETURN_IF_ERROR(SyncParent());
  MSA_ASSIGN_OR_RETURN(const auto names, files()->List(banks_));
  for (absl::string_view name : names) {
    if (absl::ConsumePrefix(&name, kReplacedPrefix))
      MSA_RETURN_IF_ERROR(FinishReplacement(std::string(name)));
  }
  for (const std::string& name : names) {
    if (absl::StartsWith(name, kCreatingPrefix) || absl::StartsWith(name, kReplacingPrefix) ||
        absl::StartsWith(name, kRemovedPrefix)) {
      MSA_RETURN_IF_ERROR(files()->RemoveDirectoryTree(PathOf(name)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> BankDirectories::List() const {
  MSA_ASSIGN_OR_RETURN(auto names, files()->List(banks_));
  std::erase_if(names, [](const std::string& name) { return !CheckBankName(name).ok(); });
  return names;
}

absl::Status BankDirectories::MakeCatalog(const std::string& directory,
                                          const CatalogSettings& settings) {
  MSA_RETURN_IF_ERROR(
      files()->CreateDirectories(absl::StrCat(directory, "/", SegmentFiles::kDirectoryName)));
  MSA_RETURN_IF_ERROR(
      Catalog::Create(*vfs_, absl::StrCat(directory, "/", Catalog::kFileName), settings));
  return files()->SyncDirectory(directory);
}

absl::Status BankDirectories::Create(const std::string& name, const CatalogSettings& settings) {
  return CreateFrom(name,
                    [&](const std::string& directory) { return MakeCatalog(directory, settings); });
}

absl::Status BankDirectories::CreateFrom(
    const std::string& name, absl::FunctionRef<absl::Status(const std::string& directory)> fill) {
  const std::string temporary = PathOf(absl::StrCat(kCreatingPrefix, name));
  const auto make = [&]() -> absl::Status {
    MSA_RETURN_IF_ERROR(files()->RemoveDirectoryTree(temporary));
    MSA_RETURN_IF_ERROR(files()->CreateDirectories(temporary));
    MSA_RETURN_IF_ERROR(fill(temporary));
    MSA_RETURN_IF_ERROR(files()->Rename(temporary, PathOf(name)));
    return SyncParent();
  };
  const absl::Status status = make();
  if (!status.ok()) files()->RemoveDirectoryTree(temporary).IgnoreError();
  return status;
}

absl::StatusOr<std::string> BankDirectories::BeginReplacement(const std::string& name,
                                                              const CatalogSettings& settings) {
  const std::string directory = PathOf(absl::StrCat(kReplacingPrefix, name));
  MSA_RETURN_IF_ERROR(files()->RemoveDirectoryTree(directory));
  MSA_RETURN_IF_ERROR(MakeCatalog(directory, settings));
  return directory;
}

absl::Status BankDirectories::DiscardReplacement(const std::string& name) {
  for (const absl::string_view prefix : {kReplacingPrefix, kReplacedPrefix}) {
    MSA_RETURN_IF_ERROR(files()->RemoveDirectoryTree(PathOf(absl::StrCat(prefix, name))));
  }
  return SyncParent();
}

absl::Status BankDirectories::CommitReplacement(const std::string& name) {
  MSA_RETURN_IF_ERROR(files()->Rename(PathOf(absl::StrCat(kReplacingPrefix, name)),
                                      PathOf(absl::StrCat(kReplacedPrefix, name))));
  return SyncParent();
}

absl::Status BankDirectories::FinishReplacement(const std::string& name) {
  if (Exists(name)) {
    const std::string removed = NewRemovedPath(name);
    MSA_RETURN_IF_ERROR(files()->Rename(PathOf(name), removed));
    MSA_RETURN_IF_ERROR(SyncParent());
    files()->RemoveDirectoryTree(removed).IgnoreError();
  }
  MSA_RETURN_IF_ERROR(files()->Rename(PathOf(absl::StrCat(kReplacedPrefix, name)), PathOf(name)));
  return SyncParent();
}

std::string BankDirectories::NewRemovedPath(const std::string& name) {
  const std::lock_guard lock(mutex_);
  std::string path;
  do {
    path = PathOf(absl::StrCat(kRemovedPrefix, num_removed_++, "-", name));
  } while (files()->Exists(path));
  return path;
}

absl::Status BankDirectories::SyncParent() { return files()->SyncDirectory(banks_); }

}  // namespace msa::engine
