#include "tests/engine/memory/files/disk_model.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/functional/function_ref.h"

namespace msa::engine {
namespace {

using Kind = FileOperation::Kind;
using Way = PowerLoss::Way;

uint64_t Mix(uint64_t seed, uint64_t a, uint64_t b) {
  uint64_t x = seed + 0x9e3779b97f4a7c15u * (a + 1) + 0xd1b54a32d192ed03u * (b + 1);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The part of a write or truncation that concerns the blocks for which `takes` holds.
void ChangeBlocks(const FileOperation& operation, uint64_t block_bytes,
                  absl::FunctionRef<bool(uint64_t)> takes, std::string* bytes) {
  const bool truncates = operation.kind == Kind::kTruncate;
  const uint64_t begin = operation.offset;
  const uint64_t end =
      truncates ? std::max<uint64_t>(bytes->size(), begin) : begin + operation.bytes.size();
  if (bytes->size() < end) bytes->resize(end);
  for (uint64_t at = begin; at < end;) {
    const uint64_t block = at / block_bytes;
    const uint64_t next = std::min(end, (block + 1) * block_bytes);
    if (takes(block)) {
      if (truncates) {
        std::fill(bytes->begin() + static_cast<int64_t>(at),
                  bytes->begin() + static_cast<int64_t>(next), '\0');
      } else {
        bytes->replace(at, next - at, operation.bytes, at - begin, next - at);
      }
    }
    at = next;
  }
}

uint64_t SizeAfter(const FileOperation& operation, uint64_t size) {
  if (operation.kind == Kind::kTruncate) return operation.offset;
  return std::max<uint64_t>(size, operation.offset + operation.bytes.size());
}

}  // namespace

DiskModel::DiskModel() { directories_[0] = {}; }

void DiskModel::Apply(std::shared_ptr<const FileOperation> operation) {
  switch (operation->kind) {
    case Kind::kMakeFile:
      files_[operation->node].durable = std::make_shared<std::string>();
      directories_[operation->directory].unsynced.push_back(std::move(operation));
      break;
    case Kind::kMakeDirectory:
      directories_[operation->node] = {};
      directories_[operation->directory].unsynced.push_back(std::move(operation));
      break;
    case Kind::kRename:
    case Kind::kRemove:
      directories_[operation->directory].unsynced.push_back(std::move(operation));
      break;
    case Kind::kSyncDirectory: {
      Directory& directory = directories_[operation->node];
      for (const auto& change : directory.unsynced) Change(*change, &directory.durable);
      for (const auto& change : directory.unsynced) {
        if (change->kind == Kind::kRemove) files_.erase(change->node);
      }
      directory.unsynced.clear();
      break;
    }
    case Kind::kWrite:
    case Kind::kTruncate: {
      const auto found = files_.find(operation->node);
      if (found == files_.end()) break;  // it has no name any more
      if (operation->kind == Kind::kWrite) last_write_ = operation;
      found->second.unsynced.push_back(std::move(operation));
      break;
    }
    case Kind::kSync:
    case Kind::kFailedSync: {
      const auto found = files_.find(operation->node);
      if (found == files_.end()) break;
      if (operation->kind == Kind::kSync) {
        found->second.durable = BytesAfter(operation->node, {.way = Way::kUnsyncedKept});
      }
      found->second.unsynced.clear();
      if (last_write_ != nullptr && last_write_->node == operation->node) last_write_ = nullptr;
      break;
    }
  }
}

DiskImage DiskModel::After(const PowerLoss& loss) const {
  DiskImage image;
  Walk(0, "", loss, &image);
  return image;
}

void DiskModel::Walk(uint64_t node, const std::string& path, const PowerLoss& loss,
                     DiskImage* image) const {
  for (const auto& [name, child] : EntriesAfter(node, loss)) {
    const std::string child_path = path + "/" + name;
    if (directories_.contains(child)) {
      image->directories.insert(child_path);
      Walk(child, child_path, loss, image);
    } else {
      image->files[child_path] = BytesAfter(child, loss);
    }
  }
}

void DiskModel::Change(const FileOperation& operation, Entries* entries) {
  if (operation.kind == Kind::kMakeFile || operation.kind == Kind::kMakeDirectory) {
    (*entries)[operation.name] = operation.node;
    return;
  }
  const auto found = entries->find(operation.name);
  if (found != entries->end() && found->second == operation.node) entries->erase(found);
  if (operation.kind == Kind::kRename) (*entries)[operation.new_name] = operation.node;
}

DiskModel::Entries DiskModel::EntriesAfter(uint64_t node, const PowerLoss& loss) const {
  const Directory& directory = directories_.at(node);
  const size_t count = directory.unsynced.size();
  const size_t before = Mix(loss.seed, node, 0) % (count + 1);
  Entries entries = directory.durable;
  for (size_t i = 0; i < count; ++i) {
    bool takes = true;
    if (loss.way == Way::kUnsyncedLost || loss.way == Way::kOnlyBytesKept) takes = false;
    if (loss.way == Way::kEachFileBefore) takes = i < before;
    if (loss.way == Way::kAnyBlocks) takes = Mix(loss.seed, node, i) % 2 == 0;
    if (takes) Change(*directory.unsynced[i], &entries);
  }
  return entries;
}

std::shared_ptr<const std::string> DiskModel::BytesAfter(uint64_t node,
                                                         const PowerLoss& loss) const {
  const auto found = files_.find(node);
  if (found == files_.end()) return std::make_shared<std::string>();
  const File& file = found->second;
  const bool keeps_none = loss.way == Way::kUnsyncedLost || loss.way == Way::kOnlyNamesKept;
  if (keeps_none || file.unsynced.empty()) return file.durable;
  const size_t count = file.unsynced.size();
  const auto before = [&](uint64_t block) {  // how many of the operations reached this block
    if (loss.way == Way::kAnyBlocks) return Mix(loss.seed, node, block) % (count + 1);
    if (loss.way == Way::kEachFileBefore) return Mix(loss.seed, node, 0) % (count + 1);
    return uint64_t{count};
  };
  constexpr uint64_t kSize = std::numeric_limits<uint64_t>::max();
  auto bytes = std::make_shared<std::string>(*file.durable);
  uint64_t size = bytes->size();
  for (size_t i = 0; i < count; ++i) {
    const FileOperation& operation = *file.unsynced[i];
    // Blocks are freed with the change of the size, and what is written then goes to others.
    if (operation.kind == Kind::kTruncate && i >= before(kSize)) break;
    const bool is_torn = loss.way == Way::kLastWriteTorn && file.unsynced[i] == last_write_;
    const uint64_t first_block = operation.offset / loss.block_bytes;
    const uint64_t last_byte = operation.offset + std::max<size_t>(operation.bytes.size(), 1) - 1;
    const uint64_t num_blocks = last_byte / loss.block_bytes - first_block + 1;
    const uint64_t cut = first_block + Mix(loss.seed, node, i) % num_blocks;
    const auto takes = [&](uint64_t block) {
      if (operation.kind == Kind::kTruncate) return true;
      return i < before(block) && (!is_torn || block < cut);
    };
    ChangeBlocks(operation, loss.block_bytes, takes, bytes.get());
    if (i < before(kSize)) size = SizeAfter(operation, size);
  }
  bytes->resize(size);
  return bytes;
}

}  // namespace msa::engine
