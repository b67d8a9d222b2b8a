#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace msa::engine {

// A file open for positional reads. Thread-safe.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  // Exactly `out.size()` bytes from `offset`; DATA_LOSS when the file ends before, UNAVAILABLE on
  // an I/O error.
  virtual absl::Status ReadAt(uint64_t offset, absl::Span<std::byte> out) const = 0;
  virtual uint64_t size() const = 0;
};

// A file being written once, front to back. Not thread-safe.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual absl::Status Append(absl::Span<const std::byte> bytes) = 0;
  virtual absl::Status Sync() = 0;  // a failed sync is never retried: the file is given up
  virtual absl::Status Close() = 0;
};

// A file that is read and written in any place; SQLite's files. Not thread-safe.
class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;
  // Bytes read; fewer than `out.size()` only where the file ends.
  virtual absl::StatusOr<size_t> ReadAt(uint64_t offset, absl::Span<std::byte> out) = 0;
  virtual absl::Status WriteAt(uint64_t offset, absl::Span<const std::byte> bytes) = 0;
  virtual absl::Status Truncate(uint64_t size) = 0;
  virtual absl::Status Sync() = 0;
  virtual absl::StatusOr<uint64_t> Size() = 0;
};

// Held while a process owns a directory or a file.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

// All file access of engine/memory, SQLite's included (catalog_vfs), goes through here so that
// faults can be injected. Errors name the path. RESOURCE_EXHAUSTED (reason DISK_FULL) when the disk
// is full, NOT_FOUND, FAILED_PRECONDITION when it may not be accessed, UNAVAILABLE on any other
// failure. Thread-safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> CreateForWrite(const std::string& path) = 0;
  // Creates the file when it is absent.
  virtual absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForUpdate(
      const std::string& path) = 0;
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Remove(const std::string& path) = 0;  // ok when absent
  virtual absl::Status RemoveDirectoryTree(const std::string& path) = 0;
  virtual absl::Status CreateDirectories(const std::string& path) = 0;  // ok when present
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  virtual absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) = 0;  // names, sorted
  virtual bool Exists(const std::string& path) = 0;
  // FAILED_PRECONDITION (reason FILE_LOCKED) when another process holds it; the lock ends with the
  // process at the latest.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  // The same with the kind of lock that other SQLite programs heed, on `size` bytes of the file
  // from `offset`.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> LockRange(const std::string& path,
                                                              uint64_t offset, uint64_t size) = 0;
};

// The operating system's files. Lives as long as the process.
FileSystem* PosixFileSystem();

}  // namespace msa::engine
