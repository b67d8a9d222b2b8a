#include "engine/memory/shard.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

#include "absl/strings/str_cat.h"
#include "engine/memory/segment_reader.h"
#include "kernels/core/check.h"

namespace msa::engine {
namespace {

constexpr int64_t kSmallestExtentBytes = int64_t{256} << 10;
constexpr int64_t kLargestExtentBytes = int64_t{64} << 20;
constexpr std::align_val_t kKeyAlignment{64};  // a cache line, and the widest vector register

// Memory that is not touched before it is written, so that what an extent holds ready costs
// nothing.
struct FreeKeys {
  void operator()(std::byte* keys) const { ::operator delete[](keys, kKeyAlignment); }
};
using Keys = std::unique_ptr<std::byte[], FreeKeys>;

}  // namespace

// Documents one after the other, [layer, capacity, W]. Never moved once it is there.
struct Shard::Extent {
  size_t extent_index = 0;
  int64_t capacity = 0;  // chunks
  int64_t num_chunks = 0;
  Keys keys;
  std::vector<uint32_t> chunk_offsets = {0};
  std::vector<uint32_t> numbers;
  std::vector<uint64_t> from_revision;
  std::vector<uint64_t> to_revision;
};

Shard::Shard(const MemoryGeometry& geometry)
    : geometry_(geometry), views_(static_cast<size_t>(geometry.num_msa_layers)) {}
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
  return num_chunks_ * geometry_.router_key_bytes_per_chunk() + static_cast<int64_t>(tables);
}

// The last extent, or a new one that is a sixteenth of the shard: few extents, and little that is
// held ready.
Shard::Extent& Shard::ExtentFor(int64_t num_chunks) {
  if (!extents_.empty()) {
    Extent& last = *extents_.back();
    if (last.num_chunks + num_chunks <= last.capacity) return last;
  }
  const int64_t chunk_bytes = geometry_.router_key_bytes_per_chunk();
  const int64_t bytes =
      std::clamp(num_chunks_ * chunk_bytes / 16, kSmallestExtentBytes, kLargestExtentBytes);
  auto extent = std::make_unique<Extent>();
  extent->extent_index = extents_.size();
  extent->capacity = std::max(num_chunks, bytes / chunk_bytes);
  const auto size = static_cast<size_t>(extent->capacity * chunk_bytes);
  extent->keys = Keys(static_cast<std::byte*>(::operator new[](size, kKeyAlignment)));
  extents_.push_back(std::move(extent));
  return *extents_.back();
}

void Shard::UpdateViews(size_t extent_index) {
  const Extent& extent = *extents_[extent_index];
  const auto layer_bytes =
      extent.capacity * geometry_.kv_width * static_cast<int64_t>(kernels::SizeOf(geometry_.dtype));
  for (size_t layer = 0; layer < views_.size(); ++layer) {
    views_[layer].resize(extents_.size());
    kernels::KeyExtent& view = views_[layer][extent_index];
    view.keys = extent.keys.get() + static_cast<int64_t>(layer) * layer_bytes;
    view.dtype = geometry_.dtype;
    view.chunk_offsets = extent.chunk_offsets;
    view.numbers = extent.numbers;
    view.from_revision = extent.from_revision;
    view.to_revision = extent.to_revision;
  }
}

void Shard::Add(std::vector<Addition> additions) {
  const auto num_layers = static_cast<size_t>(geometry_.num_msa_layers);
  const size_t chunk_bytes =
      static_cast<size_t>(geometry_.router_key_bytes_per_chunk()) / num_layers;  // of one layer
  for (const Addition& addition : additions) {
    const auto num_chunks = static_cast<size_t>(addition.num_chunks);
    const size_t bytes = num_chunks * chunk_bytes;
    MSA_CHECK(num_chunks > 0 && addition.router_keys.size() == num_layers * bytes,
              "router keys [layer, C, kv_width]");
    Extent& extent = ExtentFor(addition.num_chunks);
    const size_t at = static_cast<size_t>(extent.num_chunks) * chunk_bytes;
    const size_t layer_stride = static_cast<size_t>(extent.capacity) * chunk_bytes;
    for (size_t layer = 0; layer < num_layers; ++layer) {
      std::memcpy(extent.keys.get() + layer * layer_stride + at,
                  addition.router_keys.data() + layer * bytes, bytes);
    }
    locations_.insert_or_assign(
        addition.number,
        Location{.extent = static_cast<uint32_t>(extent.extent_index),
                 .index = static_cast<uint32_t>(extent.numbers.size()),
                 .num_chunks = static_cast<uint32_t>(num_chunks),
                 .document_in_segment = static_cast<uint32_t>(addition.document_in_segment),
                 .segment = addition.segment});
    extent.num_chunks += addition.num_chunks;
    extent.chunk_offsets.push_back(static_cast<uint32_t>(extent.num_chunks));
    extent.numbers.push_back(addition.number);
    extent.from_revision.push_back(addition.from_revision);
    extent.to_revision.push_back(std::numeric_limits<uint64_t>::max());
    num_chunks_ += addition.num_chunks;
    num_documents_ += 1;
    ++documents_by_chunks_[addition.num_chunks];
    UpdateViews(extent.extent_index);
  }
}

void Shard::Retire(uint32_t number, uint64_t to_revision) {
  const auto found = locations_.find(number);
  if (found == locations_.end()) return;
  extents_[found->second.extent]->to_revision[found->second.index] = to_revision;
}

}  // namespace msa::engine
