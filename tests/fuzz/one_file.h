#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/memory/files/file_system.h"

namespace msa::engine {

// A file system of one file, whatever its name, that can only be read. Cheap to make, since a
// fuzzer makes one per input.
class OneFile : public FileSystem {
 public:
  explicit OneFile(absl::Span<const std::byte> bytes) : bytes_(bytes) {}  // stay the caller's

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(const std::string&) override {
    return std::make_unique<File>(bytes_);
  }
  bool Exists(const std::string&) override { return true; }

  absl::StatusOr<std::unique_ptr<WritableFile>> CreateForWrite(const std::string&) override {
    return ReadOnly();
  }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForUpdate(const std::string&) override {
    return ReadOnly();
  }
  absl::Status Rename(const std::string&, const std::string&) override { return ReadOnly(); }
  absl::Status Remove(const std::string&) override { return ReadOnly(); }
  absl::Status RemoveDirectoryTree(const std::string&) override { return ReadOnly(); }
  absl::Status CreateDirectories(const std::string&) override { return ReadOnly(); }
  absl::Status SyncDirectory(const std::string&) override { return ReadOnly(); }
  absl::StatusOr<std::vector<std::string>> List(const std::string&) override { return ReadOnly(); }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string&) override { return ReadOnly(); }
  absl::StatusOr<std::unique_ptr<FileLock>> LockRange(const std::string&, uint64_t,
                                                      uint64_t) override {
    return ReadOnly();
  }

 private:
  class File : public ReadableFile {
   public:
    explicit File(absl::Span<const std::byte> bytes) : bytes_(bytes) {}
    absl::Status ReadAt(uint64_t offset, absl::Span<std::byte> out) const override {
      if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
        return absl::DataLossError("the file ends before");
      }
      std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
      return absl::OkStatus();
    }
    uint64_t size() const override { return bytes_.size(); }

   private:
    const absl::Span<const std::byte> bytes_;
  };

  static absl::Status ReadOnly() { return absl::UnimplementedError("can only be read"); }

  const absl::Span<const std::byte> bytes_;
};

inline absl::Span<const std::byte> AsBytes(const uint8_t* data, size_t size) {
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(data), size);
}

}  // namespace msa::engine
