#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "engine/memory/segments/segment_reader.h"
#include "engine/memory/shards/bank_pin.h"
#include "engine/memory/shards/shard.h"

namespace msa::engine {

// A change of what queries see, all of it at one revision.
struct Publication {
  uint64_t revision = 0;
  std::vector<std::vector<Shard::Addition>> additions;  // [R]
  std::vector<std::pair<int, uint32_t>> retired;        // rank, number
  struct Relocation {
    uint32_t number = 0;
    uint64_t from_segment = 0;
    int64_t document_in_segment = 0;
  };
  std::vector<Relocation> relocations;  // into `segment`
  std::shared_ptr<const SegmentReader> segment;
  std::vector<uint64_t> replaced_segments;  // nobody reads them from now on
};

// What compaction has set free since it was last asked.
struct Freed {
  bool boundary_has_passed = false;  // what was asked for has happened
  int64_t num_chunks = 0;            // of router keys in memory
  std::vector<uint64_t> segments;    // their files may go
};

// What queries see of a bank: its shards, the revision they stand at, and the revisions that
// queries hold. Shards change in Publish alone.
class VisibleBank : public std::enable_shared_from_this<VisibleBank> {
 public:
  // `changed` is called after every publication and when an oldest pin goes; on any thread, must
  // not block.
  VisibleBank(const MemoryGeometry& geometry, RouterKeyScan scan, int num_shards, uint64_t revision,
              std::function<void()> changed);

  // What the router keys of a chunk take in memory, all layers.
  int64_t key_bytes_per_chunk() const { return key_bytes_per_chunk_; }

  std::vector<Shard>& shards() { return shards_; }  // see Shard for threads

  // Between steps only.
  void Publish(Publication publication);
  // Shard::Compact of what had gone at `revision` and no query sees, of the first shard that has
  // enough: one extent at most.
  void CompactShards(uint64_t revision, double least_share);

  // ---- any thread
  uint64_t revision() const;
  uint64_t oldest_revision() const;  // that a query, running or coming, may be at
  std::unique_ptr<BankPin> Pin();
  Freed TakeFreed();

 private:
  class RevisionPin;
  void Unpin(uint64_t revision);

  const std::function<void()> changed_;
  const int64_t key_bytes_per_chunk_;
  std::vector<Shard> shards_;  // [R]
  std::mutex publish_mutex_;
  mutable std::mutex mutex_;
  uint64_t revision_;               // under mutex_
  std::multiset<uint64_t> pinned_;  // under mutex_
  Freed freed_;                     // under mutex_
};

}  // namespace msa::engine
