#pragma once

#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "engine/memory/bank_parts.h"
#include "engine/memory/encoding_queue.h"
#include "engine/memory/segments/segment_reader.h"

namespace msa::engine {

// Brings a bank back from its directory: verifies the segments and loads router keys into the
// shards, and checks the catalog meanwhile; then removes files that it does not know and queues what
// is ACCEPTED. What is damaged is reported and queued to be encoded again from its text. Documents are placed in
// ascending number, so the same bank always gives the same shards. Works on several threads.
class BankLoader {
 public:
  BankLoader(BankParts* parts, EncodingQueue* queue) : parts_(parts), queue_(queue) {}

  // Before anything else uses the parts. DATA_LOSS where the catalog is damaged beyond rows,
  // UNAVAILABLE where files cannot be read, FAILED_PRECONDITION names a segment of an unknown
  // version.
  absl::Status Load();

 private:
  // ACTIVE in the catalog and in the segment's table. Small: a bank may have millions.
  struct Document {
    uint64_t from_revision = 0;
    uint32_t document_in_segment = 0;
    int32_t rank = 0;
  };
  struct Segment {
    SegmentRow row;
    std::unique_ptr<SegmentReader> reader;  // null: damaged as a whole, or loaded
    std::vector<Document> documents;        // in ascending number; until it is loaded
    int64_t num_intact = 0;                 // of them
  };

  using Keys = std::vector<std::vector<std::byte>>;  // per document of a segment

  absl::Status RemoveOrphans();
  absl::Status ReadDocuments();
  absl::Status OpenSegments();
  void Match(DocumentRow row);
  void Index();
  absl::Status LoadShards();
  absl::StatusOr<Keys> ReadKeys(const Segment& segment) const;
  absl::Status LoadSegment(Segment* segment, Keys keys);
  absl::Status TakeBack(uint32_t number);  // a document that was matched
  void AddToShards(std::vector<std::vector<Shard::Addition>> additions);  // by rank
  absl::Status CommitRepairs();
  void Report(const absl::Status& problem);
  void ReportDamaged();

  BankParts* const parts_;
  EncodingQueue* const queue_;
  std::vector<Segment> segments_;
  absl::flat_hash_map<uint64_t, size_t> segment_index_;       // by id
  std::vector<std::pair<DocumentRow, const char*>> damaged_;  // and why
  std::vector<DocumentRow> to_index_;
  std::future<void> indexing_;  // those before them
  std::vector<DocumentRow> accepted_;
  std::vector<uint32_t> deleted_;
};

}  // namespace msa::engine
