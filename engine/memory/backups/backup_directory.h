#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/memory/backups/backup_manifest.h"
#include "engine/memory/catalog/catalog_reader.h"
#include "engine/memory/catalog/catalog_vfs.h"
#include "engine/memory/job_monitor.h"
#include "engine/memory/segments/segment_files.h"

namespace msa::engine {

// Where a server's backups are, one directory each: a copy of the catalog, the segments that it
// names and a manifest with checksums. A backup is there as a whole or not at all. Thread-safe: a
// name that is being written or deleted is FAILED_PRECONDITION (BACKUP_BUSY).
class BackupDirectory {
 public:
  // `directory` empty: every call is FAILED_PRECONDITION. `vfs` must outlive this.
  BackupDirectory(std::string directory, const CatalogVfs* vfs)
      : directory_(std::move(directory)), vfs_(vfs) {}

  // Makes the directory where it is missing, so that a wrong one is found at the start.
  absl::Status Prepare() const;

  // Copies a bank while it changes. `catalog` is a connection of its own. Every row and text, and
  // every block of the ACTIVE documents is checked on the way: DATA_LOSS names what is damaged.
  absl::StatusOr<BackupInfo> Write(const std::string& name, const CatalogReader& catalog,
                                   const std::shared_ptr<SegmentFiles>& segments, absl::Time now,
                                   JobMonitor* monitor) const;

  absl::StatusOr<BackupInfo> Info(const std::string& name) const;  // NOT_FOUND
  absl::StatusOr<std::vector<BackupInfo>> List() const;            // by name, also damaged ones
  absl::Status Delete(const std::string& name) const;              // NOT_FOUND

  // Copies the files of a backup into `to`, a directory that is there and empty, and syncs them.
  // DATA_LOSS names a file that is not what the manifest says.
  absl::Status CopyTo(const std::string& name, const std::string& to, JobMonitor* monitor) const;

 private:
  struct Progress;
  using LivingDocuments = absl::flat_hash_map<uint32_t, uint64_t>;  // number to segment
  class NameInWork;

  FileSystem* files() const { return vfs_->file_system(); }
  absl::Status CheckName(const std::string& name) const;
  std::string PathOf(const std::string& name) const;
  absl::StatusOr<LivingDocuments> CheckDocuments(const CatalogReader& catalog,
                                                 Progress* progress) const;
  absl::StatusOr<BackupManifest> WriteFiles(const std::string& temporary,
                                            const CatalogReader& catalog,
                                            const std::shared_ptr<SegmentFiles>& segments,
                                            absl::Time now, JobMonitor* monitor) const;
  // Copies one file, synced; its size and checksum.
  absl::StatusOr<BackupFile> CopyFile(const std::string& from, const std::string& to,
                                      const std::string& name, Progress* progress) const;

  const std::string directory_;
  const CatalogVfs* const vfs_;
  mutable std::mutex mutex_;
  mutable std::set<std::string> in_work_;  // being written or deleted; under mutex_
};

}  // namespace msa::engine
