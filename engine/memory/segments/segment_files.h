#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/memory/files/file_system.h"

namespace msa::engine {

inline constexpr std::string_view kTemporarySuffix = ".tmp";

// The directory of a bank's segments: how files are named, and a bounded set of open ones, so that
// many small segments do not use up the process's file descriptors. Thread-safe.
class SegmentFiles {
 public:
  static constexpr char kDirectoryName[] = "segments";  // in that of a bank or backup

  // `files` must outlive this and every file it opened.
  SegmentFiles(FileSystem* files, std::string directory, size_t max_open = 64);

  FileSystem* file_system() const { return files_; }
  std::string directory() const;
  std::string PathOf(uint64_t segment_id) const;

  // "0000000000000042.segment"; nullopt for any other name.
  static std::string NameOf(uint64_t segment_id);
  static std::optional<uint64_t> IdOf(std::string_view name);

  absl::StatusOr<std::shared_ptr<const ReadableFile>> Open(uint64_t segment_id);
  void Forget(uint64_t segment_id);  // closes the file
  // Closes the file and removes it, at once or when the last Hold ends.
  absl::Status Remove(uint64_t segment_id);
  void MovedTo(const std::string& directory);  // the directory was renamed

  // While one lives, no file goes. The next start removes what was not removed before the process
  // ended.
  class Hold {
   public:
    explicit Hold(std::shared_ptr<SegmentFiles> files);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    const std::shared_ptr<SegmentFiles> files_;
  };
  bool has_files_to_remove() const;  // when the holds end

 private:
  using Entry = std::pair<uint64_t, std::shared_ptr<const ReadableFile>>;

  FileSystem* const files_;
  const size_t max_open_;
  mutable std::mutex mutex_;
  std::string directory_;
  std::list<Entry> open_;  // last used first
  absl::flat_hash_map<uint64_t, std::list<Entry>::iterator> by_id_;
  int num_holds_ = 0;
  std::vector<uint64_t> to_remove_;  // when the last hold ends
};

}  // namespace msa::engine
