#include "tests/engine/memory/files/simulated_file_system.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

using OperationKind = FileOperation::Kind;

absl::Status StatusOf(FileFault::Kind kind, const char* what, const std::string& path) {
  if (kind == FileFault::Kind::kDiskFull || kind == FileFault::Kind::kShortWrite) {
    return kernels::Refusal(absl::StatusCode::kResourceExhausted,
                            absl::StrCat(what, " ", path, ": no space left"), "DISK_FULL");
  }
  return absl::UnavailableError(absl::StrCat(what, " ", path, ": input/output error"));
}

}  // namespace

class SimulatedFileSystem::File : public RandomAccessFile, public ReadableFile {
 public:
  File(SimulatedFileSystem* files, FileTree::NodePtr node, std::string path)
      : files_(files),
        node_(std::move(node)),
        path_(std::move(path)),
        size_when_opened_(node_->bytes.size()) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, absl::Span<std::byte> out) override {
    return Read(offset, out);
  }
  absl::Status ReadAt(uint64_t offset, absl::Span<std::byte> out) const override {
    MSA_ASSIGN_OR_RETURN(const size_t n, Read(offset, out));
    if (n == out.size()) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("read ", path_, ": the file ends at ", offset + n));
  }
  uint64_t size() const override { return size_when_opened_; }

  absl::Status WriteAt(uint64_t offset, absl::Span<const std::byte> bytes) override {
    const std::lock_guard lock(files_->mutex_);
    return files_->Write(node_.get(), path_, offset, bytes);
  }
  absl::Status Truncate(uint64_t size) override {
    const std::lock_guard lock(files_->mutex_);
    const Need need = size > node_->bytes.size() ? Need::kSpace : Need::kNothing;
    MSA_RETURN_IF_ERROR(files_->Call("truncate", path_, need));
    files_->tree_.Truncate(node_.get(), size);
    return absl::OkStatus();
  }
  absl::Status Sync() override {
    const std::lock_guard lock(files_->mutex_);
    return files_->Sync(*node_, path_);
  }
  absl::StatusOr<uint64_t> Size() override {
    const std::lock_guard lock(files_->mutex_);
    MSA_RETURN_IF_ERROR(files_->Call("stat", path_, Need::kNothing));
    return node_->bytes.size();
  }

 private:
  absl::StatusOr<size_t> Read(uint64_t offset, absl::Span<std::byte> out) const {
    const std::lock_guard lock(files_->mutex_);
    MSA_RETURN_IF_ERROR(files_->Call("read", path_, Need::kNothing));
    const std::string& bytes = node_->bytes;
    if (offset >= bytes.size()) return size_t{0};
    const size_t size = std::min<size_t>(out.size(), bytes.size() - offset);
    std::memcpy(out.data(), bytes.data() + offset, size);
    return size;
  }

  SimulatedFileSystem* const files_;
  const FileTree::NodePtr node_;
  const std::string path_;
  const uint64_t size_when_opened_;
};

class SimulatedFileSystem::AppendedFile : public WritableFile {
 public:
  AppendedFile(SimulatedFileSystem* files, FileTree::NodePtr node, std::string path)
      : files_(files), node_(std::move(node)), path_(std::move(path)) {}

  absl::Status Append(absl::Span<const std::byte> bytes) override {
    const std::lock_guard lock(files_->mutex_);
    return files_->Write(node_.get(), path_, node_->bytes.size(), bytes);
  }
  absl::Status Sync() override {
    const std::lock_guard lock(files_->mutex_);
    return files_->Sync(*node_, path_);
  }
  absl::Status Close() override {
    const std::lock_guard lock(files_->mutex_);
    return files_->Call("close", path_, Need::kNothing);
  }

 private:
  SimulatedFileSystem* const files_;
  const FileTree::NodePtr node_;
  const std::string path_;
};

class SimulatedFileSystem::HeldLock : public FileLock {
 public:
  HeldLock(SimulatedFileSystem* files, const Range& range) : files_(files), range_(range) {}
  ~HeldLock() override {
    const std::lock_guard lock(files_->mutex_);
    std::erase(files_->locks_, range_);
  }

 private:
  SimulatedFileSystem* const files_;
  const Range range_;
};

SimulatedFileSystem::SimulatedFileSystem()
    : tree_([this](FileOperation operation) { Note(std::move(operation)); }) {}

SimulatedFileSystem::SimulatedFileSystem(const DiskImage& image) : SimulatedFileSystem() {
  for (const std::string& path : image.directories) tree_.MakeDirectories(path).IgnoreError();
  for (const auto& [path, bytes] : image.files) {
    const auto node = tree_.FindFile(path, /*makes=*/true).value();
    tree_.Write(node.get(), 0, *bytes);
    Sync(*node, path).IgnoreError();
  }
  SyncDirectory("/").IgnoreError();
  for (const std::string& path : image.directories) SyncDirectory(path).IgnoreError();
  num_calls_ = 0;
}

void SimulatedFileSystem::Record() {
  const std::lock_guard lock(mutex_);
  records_ = true;
  trace_start_ = model_;
  trace_.clear();
}

SimulatedFileSystem::Trace SimulatedFileSystem::trace() const {
  const std::lock_guard lock(mutex_);
  return trace_;
}

DiskModel SimulatedFileSystem::trace_start() const {
  const std::lock_guard lock(mutex_);
  return trace_start_;
}

int64_t SimulatedFileSystem::num_operations() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(trace_.size());
}

int64_t SimulatedFileSystem::num_calls() const {
  const std::lock_guard lock(mutex_);
  return num_calls_;
}

void SimulatedFileSystem::InjectFault(std::optional<FileFault> fault) {
  const std::lock_guard lock(mutex_);
  fault_ = fault;
}

int64_t SimulatedFileSystem::num_faults() const {
  const std::lock_guard lock(mutex_);
  return num_faults_;
}

DiskImage SimulatedFileSystem::Contents() const {
  const std::lock_guard lock(mutex_);
  return tree_.Contents();
}

DiskImage SimulatedFileSystem::AfterPowerLoss(const PowerLoss& loss) const {
  const std::lock_guard lock(mutex_);
  return model_.After(loss);
}

// Counts a call, and says how it fails.
std::optional<FileFault> SimulatedFileSystem::TakeFault(Need need, bool is_write) {
  const int64_t call = num_calls_++;
  if (!fault_ || call < fault_->at_call) return std::nullopt;
  if (call > fault_->at_call && !fault_->is_sticky) return std::nullopt;
  if (fault_->kind == FileFault::Kind::kDiskFull && need == Need::kNothing) return std::nullopt;
  if (fault_->kind == FileFault::Kind::kShortWrite && !is_write) return std::nullopt;
  num_faults_ += 1;
  return fault_;
}

absl::Status SimulatedFileSystem::Call(const char* what, const std::string& path, Need need) {
  const auto fault = TakeFault(need, /*is_write=*/false);
  return fault ? StatusOf(fault->kind, what, path) : absl::OkStatus();
}

void SimulatedFileSystem::Note(FileOperation operation) {
  const auto shared = std::make_shared<const FileOperation>(std::move(operation));
  model_.Apply(shared);
  if (records_) trace_.push_back(shared);
}

SimulatedFileSystem::Need SimulatedFileSystem::NeedOfOpening(const std::string& path) const {
  return tree_.Find(path) == nullptr ? Need::kSpace : Need::kNothing;
}

absl::Status SimulatedFileSystem::Write(FileTree::Node* node, const std::string& path,
                                        uint64_t offset, absl::Span<const std::byte> bytes) {
  const auto fault = TakeFault(Need::kSpace, /*is_write=*/true);
  if (fault && fault->kind != FileFault::Kind::kShortWrite) {
    return StatusOf(fault->kind, "write", path);
  }
  const size_t size = fault ? bytes.size() / 2 : bytes.size();
  tree_.Write(node, offset, std::string(reinterpret_cast<const char*>(bytes.data()), size));
  return fault ? StatusOf(fault->kind, "write", path) : absl::OkStatus();
}

absl::Status SimulatedFileSystem::Sync(const FileTree::Node& node, const std::string& path) {
  const auto fault = TakeFault(Need::kSync, /*is_write=*/false);
  FileOperation operation;
  operation.kind = fault ? OperationKind::kFailedSync : OperationKind::kSync;
  operation.node = node.id;
  if (!fault || fault->kind != FileFault::Kind::kProcessEnds) Note(std::move(operation));
  return fault ? StatusOf(fault->kind, "sync", path) : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ReadableFile>> SimulatedFileSystem::OpenForRead(
    const std::string& path) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(Call("open", path, Need::kNothing));
  MSA_ASSIGN_OR_RETURN(auto node, tree_.FindFile(path, /*makes=*/false));
  return std::make_unique<File>(this, std::move(node), path);
}

absl::StatusOr<std::unique_ptr<WritableFile>> SimulatedFileSystem::CreateForWrite(
    const std::string& path) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(Call("create", path, Need::kSpace));
  MSA_ASSIGN_OR_RETURN(auto node, tree_.FindFile(path, /*makes=*/true));
  if (!node->bytes.empty()) tree_.Truncate(node.get(), 0);
  return std::make_unique<AppendedFile>(this, std::move(node), path);
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> SimulatedFileSystem::OpenForUpdate(
    const std::string& path) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(Call("open", path, NeedOfOpening(path)));
  MSA_ASSIGN_OR_RETURN(auto node, tree_.FindFile(path, /*makes=*/true));
  return std::make_unique<File>(this, std::move(node), path);
}

absl::Status SimulatedFileSystem::Rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(Call("rename", from, Need::kSpace));
  return tree_.Rename(from, to);
}

absl::Status SimulatedFileSystem::Remove(const std::string& path) {
  return RemoveDirectoryTree(path);
}

absl::Status SimulatedFileSystem::RemoveDirectoryTree(const std::string& path) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(Call("remove", path, Need::kNothing));
  tree_.RemoveTree(path);
  return absl::OkStatus();
}

absl::Status SimulatedFileSystem::CreateDirectories(const std::string& path) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(Call("create directory", path, Need::kSpace));
  return tree_.MakeDirectories(path);
}

absl::Status SimulatedFileSystem::SyncDirectory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(Call("sync", path, Need::kSync));
  MSA_ASSIGN_OR_RETURN(const auto node, tree_.FindDirectory(path));
  FileOperation operation;
  operation.kind = OperationKind::kSyncDirectory;
  operation.node = node->id;
  Note(std::move(operation));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SimulatedFileSystem::List(const std::string& path) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(Call("list", path, Need::kNothing));
  MSA_ASSIGN_OR_RETURN(const auto node, tree_.FindDirectory(path));
  std::vector<std::string> names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

bool SimulatedFileSystem::Exists(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return Call("stat", path, Need::kNothing).ok() && tree_.Find(path) != nullptr;
}

absl::StatusOr<std::unique_ptr<FileLock>> SimulatedFileSystem::Lock(const std::string& path) {
  return LockRange(path, 0, std::numeric_limits<uint64_t>::max());
}

absl::StatusOr<std::unique_ptr<FileLock>> SimulatedFileSystem::LockRange(const std::string& path,
                                                                         uint64_t offset,
                                                                         uint64_t size) {
  const std::lock_guard lock(mutex_);
  MSA_RETURN_IF_ERROR(Call("lock", path, NeedOfOpening(path)));
  MSA_ASSIGN_OR_RETURN(const auto node, tree_.FindFile(path, /*makes=*/true));
  const Range range = {node->id, offset, offset + size};
  for (const auto& [held, begin, end] : locks_) {
    if (held == node->id && offset < end && begin < offset + size) {
      return kernels::Refusal(absl::StatusCode::kFailedPrecondition,
                              absl::StrCat(path, " is locked by another process"), "FILE_LOCKED");
    }
  }
  locks_.push_back(range);
  return std::make_unique<HeldLock>(this, range);
}

}  // namespace msa::engine
