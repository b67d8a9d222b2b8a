#include "engine/memory/backups/backup_directory.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/catalog/catalog.h"
#include "engine/memory/documents/document_rules.h"
#include "engine/memory/files/checksum.h"
#include "engine/memory/files/durable_directories.h"
#include "engine/memory/segments/segment_reader.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

constexpr absl::string_view kCreatingPrefix = ".creating-";
constexpr absl::string_view kRemovedPrefix = ".removed-";
constexpr size_t kBlockBytes = size_t{1} << 20;

absl::Status NoBackup(const std::string& name) {
  return kernels::Refusal(absl::StatusCode::kNotFound,
                          absl::StrCat("there is no backup \"", name, "\""), "BACKUP_NOT_FOUND",
                          "backup");
}

}  // namespace

struct BackupDirectory::Progress {
  JobMonitor* monitor;
  int64_t total = 0;
  int64_t done = 0;

  absl::Status Add(int64_t num_bytes) {
    done += num_bytes;
    monitor->Progress({.phase = "files",
                       .unit = "bytes",
                       .done = done,
                       .total = std::max(done, total),
                       .bytes = done});
    return CheckCancelled(*monitor);
  }
};

class BackupDirectory::NameInWork {
 public:
  NameInWork(const BackupDirectory* directory, const std::string& name)
      : directory_(directory), name_(name) {
    const std::lock_guard lock(directory_->mutex_);
    is_first_ = directory_->in_work_.insert(name).second;
  }
  ~NameInWork() {
    if (!is_first_) return;
    const std::lock_guard lock(directory_->mutex_);
    directory_->in_work_.erase(name_);
  }
  NameInWork(const NameInWork&) = delete;
  NameInWork& operator=(const NameInWork&) = delete;

  absl::Status status() const {
    if (is_first_) return absl::OkStatus();
    return kernels::Refusal(absl::StatusCode::kFailedPrecondition,
                            absl::StrCat("backup \"", name_, "\" is being written or deleted"),
                            "BACKUP_BUSY", "backup");
  }

 private:
  const BackupDirectory* const directory_;
  const std::string name_;
  bool is_first_ = false;
};

absl::Status BackupDirectory::CheckName(const std::string& name) const {
  if (directory_.empty()) {
    return kernels::Refusal(absl::StatusCode::kFailedPrecondition,
                            "the server was started without a directory for backups (--backup-dir)",
                            "NO_BACKUP_DIRECTORY");
  }
  const absl::Status status = CheckBankName(name);
  if (status.ok()) return status;
  return kernels::Refusal(absl::StatusCode::kInvalidArgument,
                          absl::StrCat("a backup is named like a bank: ", status.message()),
                          "INVALID_BACKUP_NAME", "backup");
}

std::string BackupDirectory::PathOf(const std::string& name) const {
  return absl::StrCat(directory_, "/", name);
}

absl::StatusOr<BackupInfo> BackupDirectory::Write(const std::string& name,
                                                  const CatalogReader& catalog,
                                                  const std::shared_ptr<SegmentFiles>& segments,
                                                  absl::Time now, JobMonitor* monitor) const {
  MSA_RETURN_IF_ERROR(CheckName(name));
  const NameInWork in_work(this, name);
  MSA_RETURN_IF_ERROR(in_work.status());
  if (files()->Exists(PathOf(name))) {
    return kernels::Refusal(absl::StatusCode::kAlreadyExists,
                            absl::StrCat("backup \"", name, "\" is there already"), "BACKUP_EXISTS",
                            "backup");
  }
  const std::string temporary = PathOf(absl::StrCat(kCreatingPrefix, name));
  const auto write = [&]() -> absl::StatusOr<BackupInfo> {
    MSA_RETURN_IF_ERROR(MakeDirectoriesDurably(files(), directory_));
    MSA_RETURN_IF_ERROR(files()->RemoveDirectoryTree(temporary));
    MSA_RETURN_IF_ERROR(
        files()->CreateDirectories(absl::StrCat(temporary, "/", SegmentFiles::kDirectoryName)));
    MSA_ASSIGN_OR_RETURN(BackupManifest manifest,
                         WriteFiles(temporary, catalog, segments, now, monitor));
    MSA_RETURN_IF_ERROR(WriteManifest(files(), temporary, manifest));
    MSA_RETURN_IF_ERROR(
        files()->SyncDirectory(absl::StrCat(temporary, "/", SegmentFiles::kDirectoryName)));
    MSA_RETURN_IF_ERROR(files()->SyncDirectory(temporary));
    MSA_RETURN_IF_ERROR(files()->Rename(temporary, PathOf(name)));
    MSA_RETURN_IF_ERROR(files()->SyncDirectory(directory_));
    manifest.info.name = name;
    return manifest.info;
  };
  auto info = write();
  if (!info.ok()) files()->RemoveDirectoryTree(temporary).IgnoreError();
  return info;
}

absl::Status BackupDirectory::Prepare() const {
  if (directory_.empty()) return absl::OkStatus();
  const absl::Status status = MakeDirectoriesDurably(files(), directory_);
  return status.ok() ? status : kernels::Prefixed(status, "the directory for backups");
}

absl::StatusOr<BackupDirectory::LivingDocuments> BackupDirectory::CheckDocuments(
    const CatalogReader& catalog, Progress* progress) const {
  LivingDocuments living;
  absl::Status damage;
  const auto read = catalog.ForEachDocument(
      /*first=*/0, /*limit=*/0,
      [&](const DocumentRow& row) -> absl::Status {
        if (row.state == DocumentState::kDeleted) return absl::OkStatus();
        if (row.state == DocumentState::kActive) living[row.number] = row.segment;
        MSA_RETURN_IF_ERROR(catalog.TextOf(row).status());
        return progress->Add(0);
      },
      [&](uint32_t, const absl::Status& found) { damage.Update(found); });
  damage.Update(read.status());
  if (damage.ok()) return living;
  if (!absl::IsDataLoss(damage)) return damage;
  kernels::ErrorDetail detail = kernels::DetailOf(damage);
  return kernels::WithDetail(
      absl::DataLossError(absl::StrCat(
          damage.message(), "; a backup would keep the damage: ingest or delete the document")),
      detail);
}

absl::StatusOr<BackupManifest> BackupDirectory::WriteFiles(
    const std::string& temporary, const CatalogReader& catalog,
    const std::shared_ptr<SegmentFiles>& segments, absl::Time now, JobMonitor* monitor) const {
  // Before the catalog is copied, so that what it names then stays.
  const SegmentFiles::Hold hold(segments);
  const std::string copy = absl::StrCat(temporary, "/", Catalog::kFileName);
  monitor->Progress({.phase = "catalog", .unit = "bytes", .done = 0, .total = 0, .bytes = 0});
  MSA_RETURN_IF_ERROR(catalog.CopyTo(copy));
  BackupManifest manifest;
  MemoryGeometry geometry;
  std::vector<SegmentRow> rows;
  LivingDocuments living;
  Progress progress{monitor};
  {
    MSA_ASSIGN_OR_RETURN(const auto opened, Catalog::Open(*vfs_, copy));
    const CatalogSettings& settings = opened->settings();
    geometry = settings.geometry;
    manifest.info = {.name = {},
                     .bank = settings.name,
                     .revision = settings.revision,
                     .create_time = now,
                     .num_documents = 0,
                     .file_bytes = 0,
                     .model_fingerprint = geometry.model_fingerprint,
                     .dtype = geometry.dtype};
    MSA_ASSIGN_OR_RETURN(manifest.info.num_documents, opened->CountDocuments());
    MSA_ASSIGN_OR_RETURN(rows, opened->Segments());
    MSA_ASSIGN_OR_RETURN(living, CheckDocuments(*opened, &progress));
  }
  MSA_ASSIGN_OR_RETURN(const auto catalog_file, files()->OpenForUpdate(copy));
  MSA_RETURN_IF_ERROR(catalog_file->Sync());
  for (const SegmentRow& row : rows) progress.total += row.file_bytes;
  MSA_ASSIGN_OR_RETURN(manifest.files.emplace_back(),
                       CopyFile(copy, /*to=*/"", Catalog::kFileName, &progress));
  const auto copies = std::make_shared<SegmentFiles>(
      files(), absl::StrCat(temporary, "/", SegmentFiles::kDirectoryName), /*max_open=*/1);
  for (const SegmentRow& row : rows) {
    const std::string name =
        absl::StrCat(SegmentFiles::kDirectoryName, "/", SegmentFiles::NameOf(row.id));
    MSA_ASSIGN_OR_RETURN(
        manifest.files.emplace_back(),
        CopyFile(segments->PathOf(row.id), copies->PathOf(row.id), name, &progress));
    MSA_ASSIGN_OR_RETURN(const auto reader, SegmentReader::Open(copies, row.id, geometry));
    MSA_RETURN_IF_ERROR(reader->VerifyBlocks(
        [&](size_t document, const std::string& why) -> absl::Status {
          const uint32_t number = reader->documents()[document].number;
          const auto found = living.find(number);
          const bool is_needed = found != living.end() && found->second == row.id;
          if (!is_needed) return absl::OkStatus();  // deleted, or encoded again since
          return kernels::Refusal(absl::StatusCode::kDataLoss,
                                  absl::StrCat(name, ", document ", number, ": ", why,
                                               "; verify the bank, and back it up when the "
                                               "document has been encoded again"),
                                  "SEGMENT_DAMAGED");
        },
        [&](int64_t) { return progress.Add(0); }));
  }
  for (const BackupFile& file : manifest.files) manifest.info.file_bytes += file.num_bytes;
  return manifest;
}

// With an empty `to` the file is only read.
absl::StatusOr<BackupFile> BackupDirectory::CopyFile(const std::string& from, const std::string& to,
                                                     const std::string& name,
                                                     Progress* progress) const {
  MSA_ASSIGN_OR_RETURN(const auto source, files()->OpenForRead(from));
  std::unique_ptr<WritableFile> target;
  if (!to.empty()) {
    MSA_ASSIGN_OR_RETURN(target, files()->CreateForWrite(to));
  }
  RunningChecksum checksum;
  std::vector<std::byte> block(kBlockBytes);
  for (uint64_t offset = 0; offset < source->size(); offset += block.size()) {
    block.resize(std::min<uint64_t>(kBlockBytes, source->size() - offset));
    MSA_RETURN_IF_ERROR(source->ReadAt(offset, absl::MakeSpan(block)));
    checksum.Add(block);
    if (target != nullptr) MSA_RETURN_IF_ERROR(target->Append(block));
    MSA_RETURN_IF_ERROR(progress->Add(static_cast<int64_t>(block.size())));
  }
  if (target != nullptr) {
    MSA_RETURN_IF_ERROR(target->Sync());
    MSA_RETURN_IF_ERROR(target->Close());
  }
  return BackupFile{name, static_cast<int64_t>(source->size()), checksum.Value()};
}

absl::StatusOr<BackupInfo> BackupDirectory::Info(const std::string& name) const {
  MSA_RETURN_IF_ERROR(CheckName(name));
  if (!files()->Exists(PathOf(name))) return NoBackup(name);
  MSA_ASSIGN_OR_RETURN(const BackupManifest manifest, ReadManifest(files(), PathOf(name)));
  return manifest.info;
}

absl::StatusOr<std::vector<BackupInfo>> BackupDirectory::List() const {
  MSA_RETURN_IF_ERROR(CheckName("any"));
  std::vector<BackupInfo> infos;
  if (!files()->Exists(directory_)) return infos;
  MSA_ASSIGN_OR_RETURN(const auto names, files()->List(directory_));
  for (const std::string& name : names) {
    if (!CheckBankName(name).ok()) continue;
    auto manifest = ReadManifest(files(), PathOf(name));
    if (absl::IsNotFound(manifest.status())) continue;  // deleted meanwhile
    if (manifest.ok()) {
      infos.push_back(std::move(manifest->info));
    } else {
      infos.emplace_back().name = name;
      infos.back().problem = manifest.status();
    }
  }
  return infos;
}

absl::Status BackupDirectory::Delete(const std::string& name) const {
  MSA_RETURN_IF_ERROR(CheckName(name));
  const NameInWork in_work(this, name);
  MSA_RETURN_IF_ERROR(in_work.status());
  if (!files()->Exists(PathOf(name))) return NoBackup(name);
  // Not a backup any more, whatever happens next.
  const std::string removed = PathOf(absl::StrCat(kRemovedPrefix, name));
  MSA_RETURN_IF_ERROR(files()->RemoveDirectoryTree(removed));
  MSA_RETURN_IF_ERROR(files()->Rename(PathOf(name), removed));
  MSA_RETURN_IF_ERROR(files()->SyncDirectory(directory_));
  return files()->RemoveDirectoryTree(removed);
}

absl::Status BackupDirectory::CopyTo(const std::string& name, const std::string& to,
                                     JobMonitor* monitor) const {
  MSA_RETURN_IF_ERROR(CheckName(name));
  if (!files()->Exists(PathOf(name))) return NoBackup(name);
  MSA_ASSIGN_OR_RETURN(const BackupManifest manifest, ReadManifest(files(), PathOf(name)));
  MSA_RETURN_IF_ERROR(
      files()->CreateDirectories(absl::StrCat(to, "/", SegmentFiles::kDirectoryName)));
  Progress progress{monitor, manifest.info.file_bytes};
  for (const BackupFile& file : manifest.files) {
    const std::string from = absl::StrCat(PathOf(name), "/", file.name);
    auto copied = CopyFile(from, absl::StrCat(to, "/", file.name), file.name, &progress);
    const bool is_missing = absl::IsNotFound(copied.status());
    if (!copied.ok() && !is_missing) return copied.status();
    if (is_missing || copied->num_bytes != file.num_bytes || copied->checksum != file.checksum) {
      return kernels::Refusal(absl::StatusCode::kDataLoss,
                              absl::StrCat(from, is_missing ? " is missing" : " is damaged"),
                              "BACKUP_DAMAGED", "backup");
    }
  }
  MSA_RETURN_IF_ERROR(files()->SyncDirectory(absl::StrCat(to, "/", SegmentFiles::kDirectoryName)));
  return files()->SyncDirectory(to);
}

}  // namespace msa::engine
