#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace msa::engine {

// A whole file mapped read-only. The file must not be changed or truncated while it is mapped (as with any mapping, the
// process would read other bytes or get SIGBUS); replace it by renaming a new file over it. Immutable; thread-safe.
class MappedFile {
 public:
  // NOT_FOUND, PERMISSION_DENIED or INVALID_ARGUMENT (not a regular file), each naming `path`. An empty file is fine.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  absl::Span<const std::byte> bytes() const { return bytes_; }  // valid while this object lives

  // Asks the kernel to start reading the whole file.
  void WillNeed() const;
  // Gives back the memory of the pages that lie wholly inside `range`; reading them later maps them again.
  void Release(absl::Span<const std::byte> range) const;

 private:
  MappedFile(std::string path, absl::Span<const std::byte> bytes)
      : path_(std::move(path)), bytes_(bytes) {}

  const std::string path_;
  const absl::Span<const std::byte> bytes_;
};

}  // namespace msa::engine
