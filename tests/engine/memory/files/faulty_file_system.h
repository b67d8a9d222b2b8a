#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/memory/files/file_system.h"

namespace msa::engine {

// Another file system whose every changing operation asks first. An operation is refused before it
// does anything.
class FaultyFileSystem : public FileSystem {
 public:
  // `operation`: create, update, append, write, truncate, sync, sync directory, rename, remove,
  // create directory. Called on any thread.
  using Ask = std::function<absl::Status(const std::string& operation, const std::string& path)>;

  FaultyFileSystem(FileSystem* files, Ask ask) : files_(files), ask_(std::move(ask)) {}

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateForWrite(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForUpdate(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status RemoveDirectoryTree(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  bool Exists(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> LockRange(const std::string& path, uint64_t offset,
                                                      uint64_t size) override;

 private:
  FileSystem* const files_;
  const Ask ask_;
};

}  // namespace msa::engine
