#include "tests/engine/memory/files/faulty_file_system.h"

#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

class FaultyWritableFile : public WritableFile {
 public:
  FaultyWritableFile(std::unique_ptr<WritableFile> file, std::string path,
                     FaultyFileSystem::Ask ask)
      : file_(std::move(file)), path_(std::move(path)), ask_(std::move(ask)) {}

  absl::Status Append(absl::Span<const std::byte> bytes) override {
    MSA_RETURN_IF_ERROR(ask_("append", path_));
    return file_->Append(bytes);
  }
  absl::Status Sync() override {
    MSA_RETURN_IF_ERROR(ask_("sync", path_));
    return file_->Sync();
  }
  absl::Status Close() override { return file_->Close(); }

 private:
  const std::unique_ptr<WritableFile> file_;
  const std::string path_;
  const FaultyFileSystem::Ask ask_;
};

class FaultyRandomAccessFile : public RandomAccessFile {
 public:
  FaultyRandomAccessFile(std::unique_ptr<RandomAccessFile> file, std::string path,
                         FaultyFileSystem::Ask ask)
      : file_(std::move(file)), path_(std::move(path)), ask_(std::move(ask)) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, absl::Span<std::byte> out) override {
    return file_->ReadAt(offset, out);
  }
  absl::Status WriteAt(uint64_t offset, absl::Span<const std::byte> bytes) override {
    MSA_RETURN_IF_ERROR(ask_("write", path_));
    return file_->WriteAt(offset, bytes);
  }
  absl::Status Truncate(uint64_t size) override {
    MSA_RETURN_IF_ERROR(ask_("truncate", path_));
    return file_->Truncate(size);
  }
  absl::Status Sync() override {
    MSA_RETURN_IF_ERROR(ask_("sync", path_));
    return file_->Sync();
  }
  absl::StatusOr<uint64_t> Size() override { return file_->Size(); }

 private:
  const std::unique_ptr<RandomAccessFile> file_;
  const std::string path_;
  const FaultyFileSystem::Ask ask_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ReadableFile>> FaultyFileSystem::OpenForRead(
    const std::string& path) {
  return files_->OpenForRead(path);
}

absl::StatusOr<std::unique_ptr<WritableFile>> FaultyFileSystem::CreateForWrite(
    const std::string& path) {
  MSA_RETURN_IF_ERROR(ask_("create", path));
  MSA_ASSIGN_OR_RETURN(auto file, files_->CreateForWrite(path));
  return std::make_unique<FaultyWritableFile>(std::move(file), path, ask_);
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> FaultyFileSystem::OpenForUpdate(
    const std::string& path) {
  MSA_RETURN_IF_ERROR(ask_("update", path));
  MSA_ASSIGN_OR_RETURN(auto file, files_->OpenForUpdate(path));
  return std::make_unique<FaultyRandomAccessFile>(std::move(file), path, ask_);
}

absl::Status FaultyFileSystem::Rename(const std::string& from, const std::string& to) {
  MSA_RETURN_IF_ERROR(ask_("rename", from));
  return files_->Rename(from, to);
}

absl::Status FaultyFileSystem::Remove(const std::string& path) {
  MSA_RETURN_IF_ERROR(ask_("remove", path));
  return files_->Remove(path);
}

absl::Status FaultyFileSystem::RemoveDirectoryTree(const std::string& path) {
  MSA_RETURN_IF_ERROR(ask_("remove", path));
  return files_->RemoveDirectoryTree(path);
}

absl::Status FaultyFileSystem::CreateDirectories(const std::string& path) {
  MSA_RETURN_IF_ERROR(ask_("create directory", path));
  return files_->CreateDirectories(path);
}

absl::Status FaultyFileSystem::SyncDirectory(const std::string& path) {
  MSA_RETURN_IF_ERROR(ask_("sync directory", path));
  return files_->SyncDirectory(path);
}

absl::StatusOr<std::vector<std::string>> FaultyFileSystem::List(const std::string& path) {
  return files_->List(path);
}

bool FaultyFileSystem::Exists(const std::string& path) { return files_->Exists(path); }

absl::StatusOr<std::unique_ptr<FileLock>> FaultyFileSystem::Lock(const std::string& path) {
  return files_->Lock(path);
}

absl::StatusOr<std::unique_ptr<FileLock>> FaultyFileSystem::LockRange(const std::string& path,
                                                                      uint64_t offset,
                                                                      uint64_t size) {
  return files_->LockRange(path, offset, size);
}

}  // namespace msa::engine
