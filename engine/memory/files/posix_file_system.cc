#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "engine/memory/files/file_system.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

absl::Status ErrnoStatus(const char* operation, const std::string& path, int error) {
  const std::string message =
      absl::StrCat(operation, " ", path, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return kernels::Refusal(absl::StatusCode::kResourceExhausted, message, "DISK_FULL");
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case EISDIR:
      return absl::FailedPreconditionError(message);
    default:
      return absl::UnavailableError(message);
  }
}

template <class Call>
auto RetryInterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }

  static absl::StatusOr<std::unique_ptr<Descriptor>> Open(const std::string& path, int flags) {
    const int fd = RetryInterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0644); });
    if (fd < 0) return ErrnoStatus("open", path, errno);
    return std::make_unique<Descriptor>(fd, path);
  }

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }

  // Bytes read; fewer than asked for only at the end of the file.
  absl::StatusOr<size_t> ReadAt(uint64_t offset, absl::Span<std::byte> out) const {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = RetryInterrupted([&] {
        return ::pread(fd_, out.data() + done, out.size() - done,
                       static_cast<off_t>(offset + done));
      });
      if (n < 0) return ErrnoStatus("read", path_, errno);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }

  absl::Status WriteAt(uint64_t offset, absl::Span<const std::byte> bytes) {
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n = RetryInterrupted([&] {
        return ::pwrite(fd_, bytes.data() + done, bytes.size() - done,
                        static_cast<off_t>(offset + done));
      });
      if (n < 0) return ErrnoStatus("write", path_, errno);
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

  absl::Status Sync() {
    if (RetryInterrupted([&] { return ::fsync(fd_); }) != 0) {
      return ErrnoStatus("sync", path_, errno);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() const {
    struct stat info {};
    if (::fstat(fd_, &info) != 0) return ErrnoStatus("stat", path_, errno);
    return static_cast<uint64_t>(info.st_size);
  }

  absl::Status Close() {
    const int fd = std::exchange(fd_, -1);
    if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) return ErrnoStatus("close", path_, errno);
    return absl::OkStatus();
  }

 private:
  int fd_;
  const std::string path_;
};

class PosixReadableFile : public ReadableFile {
 public:
  PosixReadableFile(std::unique_ptr<Descriptor> file, uint64_t size)
      : file_(std::move(file)), size_(size) {}

  absl::Status ReadAt(uint64_t offset, absl::Span<std::byte> out) const override {
    MSA_ASSIGN_OR_RETURN(const size_t n, file_->ReadAt(offset, out));
    if (n == out.size()) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("read ", file_->path(), ": the file ends at byte ",
                                            offset + n, ", expected ", offset + out.size()));
  }
  uint64_t size() const override { return size_; }

 private:
  const std::unique_ptr<Descriptor> file_;
  const uint64_t size_;
};

class PosixWritableFile : public WritableFile {
 public:
  explicit PosixWritableFile(std::unique_ptr<Descriptor> file) : file_(std::move(file)) {}

  absl::Status Append(absl::Span<const std::byte> bytes) override {
    MSA_RETURN_IF_ERROR(file_->WriteAt(size_, bytes));
    size_ += bytes.size();
    return absl::OkStatus();
  }
  absl::Status Sync() override { return file_->Sync(); }
  absl::Status Close() override { return file_->Close(); }

 private:
  const std::unique_ptr<Descriptor> file_;
  uint64_t size_ = 0;
};

class PosixRandomAccessFile : public RandomAccessFile {
 public:
  explicit PosixRandomAccessFile(std::unique_ptr<Descriptor> file) : file_(std::move(file)) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, absl::Span<std::byte> out) override {
    return file_->ReadAt(offset, out);
  }
  absl::Status WriteAt(uint64_t offset, absl::Span<const std::byte> bytes) override {
    return file_->WriteAt(offset, bytes);
  }
  absl::Status Truncate(uint64_t size) override {
    const auto call = [&] { return ::ftruncate(file_->fd(), static_cast<off_t>(size)); };
    if (RetryInterrupted(call) != 0) return ErrnoStatus("truncate", file_->path(), errno);
    return absl::OkStatus();
  }
  absl::Status Sync() override { return file_->Sync(); }
  absl::StatusOr<uint64_t> Size() override { return file_->Size(); }

 private:
  const std::unique_ptr<Descriptor> file_;
};

// The lock belongs to the open file and goes with it.
class PosixFileLock : public FileLock {
 public:
  explicit PosixFileLock(std::unique_ptr<Descriptor> file) : file_(std::move(file)) {}

 private:
  const std::unique_ptr<Descriptor> file_;
};

absl::Status InUse(const std::string& path) {
  return kernels::Refusal(absl::StatusCode::kFailedPrecondition,
                          absl::StrCat(path, " is locked by another process"), "FILE_LOCKED");
}

class PosixFiles : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(const std::string& path) override {
    MSA_ASSIGN_OR_RETURN(auto file, Descriptor::Open(path, O_RDONLY));
    MSA_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
    return std::make_unique<PosixReadableFile>(std::move(file), size);
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> CreateForWrite(const std::string& path) override {
    MSA_ASSIGN_OR_RETURN(auto file, Descriptor::Open(path, O_WRONLY | O_CREAT | O_TRUNC));
    return std::make_unique<PosixWritableFile>(std::move(file));
  }

  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForUpdate(
      const std::string& path) override {
    MSA_ASSIGN_OR_RETURN(auto file, Descriptor::Open(path, O_RDWR | O_CREAT));
    return std::make_unique<PosixRandomAccessFile>(std::move(file));
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus("rename", from, errno);
    return absl::OkStatus();
  }

  absl::Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus("remove", path, errno);
    return absl::OkStatus();
  }

  absl::Status RemoveDirectoryTree(const std::string& path) override {
    auto names = List(path);
    if (absl::IsNotFound(names.status())) return absl::OkStatus();
    MSA_RETURN_IF_ERROR(names.status());
    for (const std::string& name : *names) {
      const std::string child = absl::StrCat(path, "/", name);
      struct stat info {};
      if (::lstat(child.c_str(), &info) != 0) return ErrnoStatus("stat", child, errno);
      MSA_RETURN_IF_ERROR(S_ISDIR(info.st_mode) ? RemoveDirectoryTree(child) : Remove(child));
    }
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus("remove", path, errno);
    return absl::OkStatus();
  }

  absl::Status CreateDirectories(const std::string& path) override {
    for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
      const std::string prefix = path.substr(0, end);
      if (::mkdir(prefix.c_str(), 0755) != 0 && errno != EEXIST) {
        return ErrnoStatus("create directory", prefix, errno);
      }
      if (end == std::string::npos) break;
    }
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return ErrnoStatus("stat", path, errno);
    if (!S_ISDIR(info.st_mode)) return ErrnoStatus("create directory", path, ENOTDIR);
    return absl::OkStatus();
  }

  absl::Status SyncDirectory(const std::string& path) override {
    MSA_ASSIGN_OR_RETURN(auto directory, Descriptor::Open(path, O_RDONLY | O_DIRECTORY));
    return directory->Sync();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
    if (directory == nullptr) return ErrnoStatus("list", path, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory.get())) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    if (errno != 0) return ErrnoStatus("list", path, errno);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) override { return ::access(path.c_str(), F_OK) == 0; }

  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    MSA_ASSIGN_OR_RETURN(auto file, Descriptor::Open(path, O_RDWR | O_CREAT));
    if (RetryInterrupted([&] { return ::flock(file->fd(), LOCK_EX | LOCK_NB); }) != 0) {
      return errno == EWOULDBLOCK ? InUse(path) : ErrnoStatus("lock", path, errno);
    }
    return std::make_unique<PosixFileLock>(std::move(file));
  }

  absl::StatusOr<std::unique_ptr<FileLock>> LockRange(const std::string& path, uint64_t offset,
                                                      uint64_t size) override {
    MSA_ASSIGN_OR_RETURN(auto file, Descriptor::Open(path, O_RDWR | O_CREAT));
    // Locks of the open file, not of the process: those end when any descriptor of the file is
    // closed.
    struct flock range {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = static_cast<off_t>(offset);
    range.l_len = static_cast<off_t>(size);
    if (RetryInterrupted([&] { return ::fcntl(file->fd(), F_OFD_SETLK, &range); }) != 0) {
      return errno == EAGAIN || errno == EACCES ? InUse(path) : ErrnoStatus("lock", path, errno);
    }
    return std::make_unique<PosixFileLock>(std::move(file));
  }
};

}  // namespace

FileSystem* PosixFileSystem() {
  static PosixFiles* const files = new PosixFiles();
  return files;
}

}  // namespace msa::engine
