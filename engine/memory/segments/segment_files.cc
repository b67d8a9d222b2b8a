#include "engine/memory/segments/segment_files.h"

#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

constexpr std::string_view kSuffix = ".segment";

}  // namespace

SegmentFiles::SegmentFiles(FileSystem* files, std::string directory, size_t max_open)
    : files_(files), max_open_(max_open), directory_(std::move(directory)) {}

std::string SegmentFiles::directory() const {
  const std::lock_guard lock(mutex_);
  return directory_;
}

std::string SegmentFiles::PathOf(uint64_t segment_id) const {
  return absl::StrCat(directory(), "/", NameOf(segment_id));
}

std::string SegmentFiles::NameOf(uint64_t segment_id) {
  return absl::StrFormat("%016d%s", segment_id, kSuffix);
}

std::optional<uint64_t> SegmentFiles::IdOf(std::string_view name) {
  uint64_t id = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), id);
  if (parsed.ec != std::errc() || NameOf(id) != name) return std::nullopt;
  return id;
}

absl::StatusOr<std::shared_ptr<const ReadableFile>> SegmentFiles::Open(uint64_t segment_id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = by_id_.find(segment_id); found != by_id_.end()) {
    open_.splice(open_.begin(), open_, found->second);
    return found->second->second;
  }
  MSA_ASSIGN_OR_RETURN(std::shared_ptr<const ReadableFile> file,
                       files_->OpenForRead(absl::StrCat(directory_, "/", NameOf(segment_id))));
  open_.emplace_front(segment_id, file);
  by_id_[segment_id] = open_.begin();
  if (open_.size() > max_open_) {
    by_id_.erase(open_.back().first);
    open_.pop_back();
  }
  return file;
}

void SegmentFiles::Forget(uint64_t segment_id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(segment_id);
  if (found == by_id_.end()) return;
  open_.erase(found->second);
  by_id_.erase(found);
}

absl::Status SegmentFiles::Remove(uint64_t segment_id) {
  Forget(segment_id);
  {
    const std::lock_guard lock(mutex_);
    if (num_holds_ > 0) {
      to_remove_.push_back(segment_id);
      return absl::OkStatus();
    }
  }
  return files_->Remove(PathOf(segment_id));
}

SegmentFiles::Hold::Hold(std::shared_ptr<SegmentFiles> files) : files_(std::move(files)) {
  const std::lock_guard lock(files_->mutex_);
  files_->num_holds_ += 1;
}

SegmentFiles::Hold::~Hold() {
  std::vector<uint64_t> to_remove;
  {
    const std::lock_guard lock(files_->mutex_);
    files_->num_holds_ -= 1;
    if (files_->num_holds_ == 0) to_remove.swap(files_->to_remove_);
  }
  for (const uint64_t segment_id : to_remove) files_->Remove(segment_id).IgnoreError();
}

bool SegmentFiles::has_files_to_remove() const {
  const std::lock_guard lock(mutex_);
  return !to_remove_.empty();
}

void SegmentFiles::MovedTo(const std::string& directory) {
  const std::lock_guard lock(mutex_);
  directory_ = directory;
}

}  // namespace msa::engine
