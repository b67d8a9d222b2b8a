#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/memory/documents/encoded_document.h"
#include "kernels/ops/score_chunks.h"

namespace msa::engine {

class SegmentReader;

// One rank's part of one bank: router keys in memory, content where the segments are. Routing keys
// live in append-only extents; deleted and superseded documents stay in them, invisible, until
// Compact moves the others out.
//
// Threads: the mutators run between steps only (DocumentEncoder::AtStepBoundary); the readers run
// inside steps, on any rank's thread, or between steps.
class Shard {
 public:
  explicit Shard(const MemoryGeometry& geometry, RouterKeyScan scan = RouterKeyScan::kExact);
  ~Shard();
  Shard(Shard&&) noexcept;
  Shard& operator=(Shard&&) = delete;

  // ---- readers
  // What ScoreChunks takes, for one MSA layer (index into ModelConfig::msa_layers). Valid until the
  // next mutation.
  absl::Span<const kernels::KeyExtent> RouterKeys(int msa_index) const;
  // Chunks of a document of this shard, visible or not; 0 when it is not here.
  int64_t NumChunks(uint32_t number) const;
  // The document's content of one layer, [C, 2 (key, value), kv_width] in the bank dtype, read from
  // its segment and verified against its checksum. `out` has exactly that size. DATA_LOSS names
  // segment and document.
  absl::Status ReadContent(uint32_t number, int msa_index, absl::Span<std::byte> out) const;

  int64_t num_chunks() const;     // with tombstones
  int64_t num_documents() const;  // with tombstones
  // Router keys, quantised ones too, and tables; not what extents hold ready and nobody has
  // touched.
  int64_t resident_bytes() const;
  // How many documents have how many chunks, with tombstones; ascending.
  const std::map<int64_t, int64_t>& documents_by_chunks() const { return documents_by_chunks_; }

  // ---- mutators
  struct Addition {
    uint32_t number = 0;
    uint64_t from_revision = 0;
    int64_t num_chunks = 0;
    std::vector<std::byte> router_keys;  // [layer, C, kv_width]
    std::shared_ptr<const SegmentReader> segment;
    int64_t document_in_segment = 0;
  };
  void Add(std::vector<Addition> additions);
  // Nothing where the number is not here. A document that was retired may be added again: its
  // content is then read from the new place.
  void Retire(uint32_t number, uint64_t to_revision);
  // The document's content is in another segment from now on. Nothing where it is not here, or not
  // in segment `from`.
  void Relocate(uint32_t number, uint64_t from, std::shared_ptr<const SegmentReader> to,
                int64_t document_in_segment);
  // Drops what no query of `oldest_revision` or later sees from the extent that has most of it,
  // where that is `least_share` of its chunks or more. Copies the rest of one extent at most.
  // Returns the chunks that went; 0: there is no such extent.
  int64_t Compact(uint64_t oldest_revision, double least_share);

 private:
  struct Extent;
  struct Location {
    uint32_t extent = 0;
    uint32_t index = 0;  // in the extent
    uint32_t num_chunks = 0;
    uint32_t document_in_segment = 0;
    std::shared_ptr<const SegmentReader> segment;
  };
  Extent& ExtentFor(int64_t num_chunks);
  // Adds a document to the tables. Its keys go to KeysAt(extent, layer, chunk).
  Extent& Append(uint32_t number, uint64_t from_revision, uint64_t to_revision, int64_t num_chunks);
  std::byte* KeysAt(const Extent& extent, size_t layer, int64_t chunk) const;
  std::byte* QuantizedKeysOf(const Extent& extent, size_t layer) const;
  size_t LayerBytes(int64_t num_chunks) const;  // of one layer's keys
  // Copies a document's keys of one layer, quantised as well where the shard has such keys.
  void WriteKeys(const Extent& extent, size_t layer, int64_t first_chunk, int64_t num_chunks,
                 const std::byte* keys);
  void MoveOut(Extent* extent, uint64_t oldest_revision);
  void UpdateViews(size_t extent_index);

  MemoryGeometry geometry_;
  RouterKeyScan scan_;
  std::vector<std::unique_ptr<Extent>> extents_;
  size_t open_extent_ = 0;            // where documents are added; extents_.size(): a new one
  std::vector<size_t> free_extents_;  // emptied, to be used again
  std::vector<std::vector<kernels::KeyExtent>> views_;  // [layer][extent]
  absl::flat_hash_map<uint32_t, Location> locations_;
  int64_t num_chunks_ = 0;
  int64_t num_documents_ = 0;
  std::map<int64_t, int64_t> documents_by_chunks_;
};

}  // namespace msa::engine
