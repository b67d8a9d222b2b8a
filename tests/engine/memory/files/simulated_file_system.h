#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "engine/memory/files/file_system.h"
#include "tests/engine/memory/files/disk_model.h"
#include "tests/engine/memory/files/file_fault.h"
#include "tests/engine/memory/files/file_operation.h"
#include "tests/engine/memory/files/file_tree.h"

namespace msa::engine {

// A disk in memory that knows at any time what of it is durable, and fails where it is told to.
// Paths start with "/". Locks belong to the objects that hold them. Every call of the interface and
// of its files counts as one. Thread-safe; must outlive its files.
class SimulatedFileSystem : public FileSystem {
 public:
  using Trace = std::vector<std::shared_ptr<const FileOperation>>;

  SimulatedFileSystem();
  explicit SimulatedFileSystem(const DiskImage& image);  // all of it is durable

  void Record();  // operations from now on are kept
  Trace trace() const;
  DiskModel trace_start() const;   // when recording began
  int64_t num_operations() const;  // of the trace
  int64_t num_calls() const;

  void InjectFault(std::optional<FileFault> fault);
  int64_t num_faults() const;  // calls that have failed by one

  DiskImage Contents() const;                             // as callers see it
  DiskImage AfterPowerLoss(const PowerLoss& loss) const;  // if the power went now

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
  class File;
  class AppendedFile;
  class HeldLock;
  using Range = std::tuple<uint64_t, uint64_t, uint64_t>;  // node, begin, end
  enum class Need { kNothing, kSpace, kSync };             // what a call asks of the disk

  // All of these under mutex_.
  std::optional<FileFault> TakeFault(Need need, bool is_write);
  absl::Status Call(const char* what, const std::string& path, Need need);
  absl::Status Write(FileTree::Node* node, const std::string& path, uint64_t offset,
                     absl::Span<const std::byte> bytes);
  absl::Status Sync(const FileTree::Node& node, const std::string& path);
  void Note(FileOperation operation);
  Need NeedOfOpening(const std::string& path) const;

  mutable std::mutex mutex_;
  FileTree tree_;
  DiskModel model_;
  bool records_ = false;
  DiskModel trace_start_;
  Trace trace_;
  int64_t num_calls_ = 0;
  int64_t num_faults_ = 0;
  std::optional<FileFault> fault_;
  std::vector<Range> locks_;
};

}  // namespace msa::engine
