#include "engine/memory/shards/shard.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

#include "absl/strings/str_cat.h"
#include "engine/memory/segments/segment_reader.h"
#include "kernels/core/check.h"
#include "kernels/core/large_array.h"
#include "kernels/ops/quantized_keys.h"

namespace msa::engine {
namespace {

constexpr int64_t kSmallestExtentBytes = int64_t{256} << 10;
constexpr int64_t kLargestExtentBytes = int64_t{64} << 20;

using kernels::LargeArray;

// What an extent holds ready is not touched before it is written, so that it costs next to nothing:
// with huge pages at most all of the open one, a sixteenth of the shard.
LargeArray AllocateKeys(size_t num_bytes) {
  LargeArray keys = kernels::AllocateLargeArray(num_bytes);
  if (keys == nullptr) throw std::bad_alloc();
  return keys;
}

}  // namespace

// Documents one after the other, [layer, capacity, W]. Never moved once it is there.
struct Shard::Extent {
  size_t extent_index = 0;
  int64_t capacity = 0;  // chunks
  int64_t num_chunks = 0;
  LargeArray keys;
  LargeArray quantized_keys;  // [layer, groups of the capacity] of quantized_keys.h; or null
  std::vector<uint32_t> chunk_offsets = {0};
  std::vector<uint32_t> numbers;
  std::vector<uint64_t> from_revision;
  std::vector<uint64_t> to_revision;
};

Shard::Shard(const MemoryGeometry& geometry, RouterKeyScan scan)
    : geometry_(geometry), scan_(scan), views_(static_cast<size_t>(geometry.num_msa_layers)) {}
Shard::~Shard() = default;
Shard::Shard(Shard&&) noexcept = default;

absl::Span<const kernels::KeyExtent> Shard::RouterKeys(int msa_index) const {
  return views_[static_cast<size_t>(msa_index)];
}

int64_t Shard::NumChunks(uint32_t number) const {
  const auto found = locations_.find(number);
  return found == locations_.end() ? 0 : found->second.num_chunks;
}

absl::Status Shard::ReadContent(uint32_t number, int msa_index, absl::Span<std::byte> out) const {
  const auto found = locations_.find(number);
  if (found == locations_.end()) {
    return absl::NotFoundError(absl::StrCat("document ", number, " is not in this shard"));
  }
  const Location& location = found->second;
  return location.segment->ReadContent(location.document_in_segment, static_cast<size_t>(msa_index),
                                       out);
}

int64_t Shard::num_chunks() const { return num_chunks_; }
int64_t Shard::num_documents() const { return num_documents_; }

int64_t Shard::resident_bytes() const {
  size_t tables = locations_.capacity() * (sizeof(uint32_t) + sizeof(Location) + 1);
  for (const auto& extent : extents_) {
    tables +=
        sizeof(Extent) +
        (extent->chunk_offsets.capacity() + extent->numbers.capacity()) * sizeof(uint32_t) +
        (extent->from_revision.capacity() + extent->to_revision.capacity()) * sizeof(uint64_t);
  }
  for (const auto& layer : views_) tables += layer.capacity() * sizeof(kernels::KeyExtent);
  return num_chunks_ * geometry_.resident_key_bytes_per_chunk(scan_) + static_cast<int64_t>(tables);
}

// The open extent, or a new one that is a sixteenth of the shard: few extents, and little that is
// held ready.
Shard::Extent& Shard::ExtentFor(int64_t num_chunks) {
  if (open_extent_ < extents_.size()) {
    Extent& open = *extents_[open_extent_];
    if (open.num_chunks + num_chunks <= open.capacity) return open;
  }
  const int64_t chunk_bytes = geometry_.resident_key_bytes_per_chunk(scan_);
  const int64_t bytes =
      std::clamp(num_chunks_ * chunk_bytes / 16, kSmallestExtentBytes, kLargestExtentBytes);
  auto extent = std::make_unique<Extent>();
  extent->capacity = std::max(num_chunks, bytes / chunk_bytes);
  extent->keys =
      AllocateKeys(static_cast<size_t>(extent->capacity * geometry_.router_key_bytes_per_chunk()));
  if (scan_ == RouterKeyScan::kInt8) {
    extent->quantized_keys =
        AllocateKeys(views_.size() * static_cast<size_t>(kernels::QuantizedKeyBytes(
                                         extent->capacity, geometry_.kv_width)));
  }
  if (free_extents_.empty()) {
    open_extent_ = extents_.size();
    extents_.emplace_back();
  } else {
    open_extent_ = free_extents_.back();
    free_extents_.pop_back();
  }
  extent->extent_index = open_extent_;
  extents_[open_extent_] = std::move(extent);
  return *extents_[open_extent_];
}

size_t Shard::LayerBytes(int64_t num_chunks) const {
  return static_cast<size_t>(num_chunks * geometry_.kv_width) * kernels::SizeOf(geometry_.dtype);
}

std::byte* Shard::KeysAt(const Extent& extent, size_t layer, int64_t chunk) const {
  return extent.keys.get() + layer * LayerBytes(extent.capacity) + LayerBytes(chunk);
}

std::byte* Shard::QuantizedKeysOf(const Extent& extent, size_t layer) const {
  if (extent.quantized_keys == nullptr) return nullptr;
  return extent.quantized_keys.get() + layer * static_cast<size_t>(kernels::QuantizedKeyBytes(
                                                   extent.capacity, geometry_.kv_width));
}

void Shard::WriteKeys(const Extent& extent, size_t layer, int64_t first_chunk, int64_t num_chunks,
                      const std::byte* keys) {
  std::memcpy(KeysAt(extent, layer, first_chunk), keys, LayerBytes(num_chunks));
  std::byte* const quantized = QuantizedKeysOf(extent, layer);
  if (quantized == nullptr) return;
  kernels::QuantizeKeys(keys, geometry_.dtype, geometry_.kv_width, first_chunk, num_chunks,
                        quantized);
}

void Shard::UpdateViews(size_t extent_index) {
  const Extent& extent = *extents_[extent_index];
  for (size_t layer = 0; layer < views_.size(); ++layer) {
    views_[layer].resize(extents_.size());
    kernels::KeyExtent& view = views_[layer][extent_index];
    view.keys = extent.keys == nullptr ? nullptr : KeysAt(extent, layer, 0);
    view.quantized_keys = QuantizedKeysOf(extent, layer);
    view.dtype = geometry_.dtype;
    view.chunk_offsets = extent.chunk_offsets;
    view.numbers = extent.numbers;
    view.from_revision = extent.from_revision;
    view.to_revision = extent.to_revision;
  }
}

Shard::Extent& Shard::Append(uint32_t number, uint64_t from_revision, uint64_t to_revision,
                             int64_t num_chunks) {
  Extent& extent = ExtentFor(num_chunks);
  extent.num_chunks += num_chunks;
  extent.chunk_offsets.push_back(static_cast<uint32_t>(extent.num_chunks));
  extent.numbers.push_back(number);
  extent.from_revision.push_back(from_revision);
  extent.to_revision.push_back(to_revision);
  num_chunks_ += num_chunks;
  num_documents_ += 1;
  ++documents_by_chunks_[num_chunks];
  return extent;
}

void Shard::Add(std::vector<Addition> additions) {
  const auto num_layers = static_cast<size_t>(geometry_.num_msa_layers);
  for (const Addition& addition : additions) {
    const size_t bytes = LayerBytes(addition.num_chunks);
    MSA_CHECK(addition.num_chunks > 0 && addition.router_keys.size() == num_layers * bytes,
              "router keys [layer, C, kv_width]");
    Extent& extent = Append(addition.number, addition.from_revision,
                            std::numeric_limits<uint64_t>::max(), addition.num_chunks);
    const int64_t at = extent.num_chunks - addition.num_chunks;
    for (size_t layer = 0; layer < num_layers; ++layer) {
      WriteKeys(extent, layer, at, addition.num_chunks,
                addition.router_keys.data() + layer * bytes);
    }
    locations_.insert_or_assign(
        addition.number,
        Location{.extent = static_cast<uint32_t>(extent.extent_index),
                 .index = static_cast<uint32_t>(extent.numbers.size() - 1),
                 .num_chunks = static_cast<uint32_t>(addition.num_chunks),
                 .document_in_segment = static_cast<uint32_t>(addition.document_in_segment),
                 .segment = addition.segment});
    UpdateViews(extent.extent_index);
  }
}

void Shard::Retire(uint32_t number, uint64_t to_revision) {
  const auto found = locations_.find(number);
  if (found == locations_.end()) return;
  extents_[found->second.extent]->to_revision[found->second.index] = to_revision;
}

void Shard::Relocate(uint32_t number, uint64_t from, std::shared_ptr<const SegmentReader> to,
                     int64_t document_in_segment) {
  const auto found = locations_.find(number);
  if (found == locations_.end() || found->second.segment->segment_id() != from) return;
  found->second.segment = std::move(to);
  found->second.document_in_segment = static_cast<uint32_t>(document_in_segment);
}

int64_t Shard::Compact(uint64_t oldest_revision, double least_share) {
  Extent* chosen = nullptr;
  double most = 0;
  for (const std::unique_ptr<Extent>& extent : extents_) {
    int64_t num_dead = 0;
    for (size_t i = 0; i < extent->numbers.size(); ++i) {
      if (extent->to_revision[i] > oldest_revision) continue;
      num_dead += extent->chunk_offsets[i + 1] - extent->chunk_offsets[i];
    }
    if (num_dead == 0) continue;
    const double share = static_cast<double>(num_dead) / static_cast<double>(extent->num_chunks);
    if (share < least_share || share <= most) continue;
    most = share;
    chosen = extent.get();
  }
  if (chosen == nullptr) return 0;
  const int64_t before = num_chunks_;
  MoveOut(chosen, oldest_revision);
  return before - num_chunks_;
}

// Leaves an empty extent.
void Shard::MoveOut(Extent* extent, uint64_t oldest_revision) {
  const size_t extent_index = extent->extent_index;
  if (open_extent_ == extent_index) open_extent_ = extents_.size();
  for (size_t i = 0; i < extent->numbers.size(); ++i) {
    const uint32_t number = extent->numbers[i];
    const int64_t first = extent->chunk_offsets[i];
    const int64_t num_chunks = extent->chunk_offsets[i + 1] - extent->chunk_offsets[i];
    num_chunks_ -= num_chunks;
    num_documents_ -= 1;
    const auto of_this_size = documents_by_chunks_.find(num_chunks);
    if (--of_this_size->second == 0) documents_by_chunks_.erase(of_this_size);
    // Of a document that was retired and added again, the older place is nobody's.
    const auto found = locations_.find(number);
    const bool is_here = found != locations_.end() && found->second.extent == extent_index &&
                         found->second.index == i;
    if (extent->to_revision[i] <= oldest_revision) {
      if (is_here) locations_.erase(found);
      continue;
    }
    Extent& target = Append(number, extent->from_revision[i], extent->to_revision[i], num_chunks);
    const int64_t at = target.num_chunks - num_chunks;
    for (size_t layer = 0; layer < views_.size(); ++layer) {
      std::memcpy(KeysAt(target, layer, at), KeysAt(*extent, layer, first), LayerBytes(num_chunks));
      if (scan_ == RouterKeyScan::kExact) continue;
      kernels::CopyQuantizedKeys(QuantizedKeysOf(*extent, layer), first, num_chunks,
                                 geometry_.kv_width, QuantizedKeysOf(target, layer), at);
    }
    UpdateViews(target.extent_index);
    if (!is_here) continue;
    found->second.extent = static_cast<uint32_t>(target.extent_index);
    found->second.index = static_cast<uint32_t>(target.numbers.size() - 1);
  }
  auto empty = std::make_unique<Extent>();
  empty->extent_index = extent_index;
  extents_[extent_index] = std::move(empty);
  free_extents_.push_back(extent_index);
  UpdateViews(extent_index);
}

}  // namespace msa::engine
