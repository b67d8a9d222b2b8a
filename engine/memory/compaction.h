#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/memory/bank_parts.h"
#include "engine/memory/document_encoder.h"
#include "engine/memory/segments/segment_reader.h"

namespace msa::engine {

// The part of a bank's thread that drops what nobody may see any more: it writes the living
// documents of some segments into a new one, commits that, tells the shards at a step boundary and
// then removes the old files; and it moves living router keys out of extents. One unit at a time,
// of at most segment_target_bytes, so that other work of the thread waits for little. It runs by
// itself where enough is dead, and for everything where it is asked to.
class Compaction {
 public:
  explicit Compaction(BankParts* parts) : parts_(parts) {}

  // How long until Run has something to do; infinite when that depends on others.
  absl::Duration TimeUntilDue() const { return due_in_; }

  // Rows of deleted documents that nobody sees are purged: SegmentCommit::Purge.
  void Run();

  void Stop();  // what waits is UNAVAILABLE

 private:
  struct Living {
    DocumentRow row;  // as it was
    EncodedDocument encoded;
  };
  // What some segments hold.
  struct Unit {
    std::vector<uint64_t> segments;
    std::vector<Living> living;  // in ascending number
    int64_t num_dropped = 0;
    int64_t dropped_tokens = 0;
    int64_t dropped_chunks = 0;
    int64_t file_bytes = 0;
  };

  bool is_asked() const { return !requests_.empty(); }
  void TakeRequests();
  void TakeFreed();
  std::vector<uint64_t> ChooseSegments() const;
  void CompactShards();
  absl::Status RunUnit(const std::vector<uint64_t>& segments);
  // An error of one segment makes it unreadable_.
  absl::Status ReadSegment(uint64_t segment_id, Unit* unit) const;
  absl::Status ReadArrays(const SegmentReader& reader, size_t document, std::vector<std::byte> keys,
                          EncodedDocument* out) const;
  absl::StatusOr<std::shared_ptr<const SegmentReader>> Write(const Unit& unit,
                                                             uint64_t segment_id) const;
  absl::Status Commit(const SegmentReader* segment, const Unit& unit);
  void TakeEffect(std::shared_ptr<const SegmentReader> segment, const Unit& unit);
  absl::Status RewriteCatalog();
  void Finish(const absl::Status& status);  // replies to those who asked

  BankParts* const parts_;
  std::vector<Bank::CompactDone> waiting_;   // for those who asked before
  std::vector<Bank::CompactDone> requests_;  // being served
  Bank::CompactResult result_;               // since that began
  // What they mean, so that a compaction ends however fast documents go meanwhile.
  uint64_t asked_below_segment_ = 0;
  uint64_t asked_revision_ = 0;
  bool is_rewritten_ = false;  // the catalog
  bool asked_shards_ = false;  // an extent may have dead keys of theirs
  // Segments that could not be read, with what was dead in them then: they wait until that changes
  // (a damaged document has been encoded again) or for the next request.
  absl::flat_hash_map<uint64_t, int64_t> unreadable_;
  bool waits_for_boundary_ = false;
  absl::Duration due_in_ = absl::InfiniteDuration();
  absl::Duration not_before_ = -absl::InfiniteDuration();
};

}  // namespace msa::engine
