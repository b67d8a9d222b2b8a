#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "engine/memory/bank_parts.h"
#include "engine/memory/encoding_queue.h"
#include "engine/memory/segments/segment_reader.h"

namespace msa::engine {

// Brings a bank back from its directory: removes files that no catalog knows, verifies the segments
// and loads router keys into the shards, queues what is ACCEPTED. What is damaged is reported and
// queued to be encoded again from its text. Documents are placed in ascending number, so the same
// bank always gives the same shards.
class BankLoader {
 public:
  BankLoader(BankParts* parts, EncodingQueue* queue) : parts_(parts), queue_(queue) {}

  // Before anything else uses the parts. UNAVAILABLE where files cannot be read;
  // FAILED_PRECONDITION names a segment of an unknown version.
  absl::Status Load();

 private:
  struct Document {  // ACTIVE in the catalog
    DocumentRow row;
    bool is_damaged = false;
    int rank = 0;
  };
  struct Segment {
    SegmentRow row;
    std::unique_ptr<SegmentReader> reader;  // null: damaged as a whole
    std::vector<size_t> documents;          // indices into documents_
  };

  using Keys = std::vector<std::vector<std::byte>>;  // per document of a segment

  absl::Status RemoveOrphans();
  absl::Status ReadDocuments();
  absl::Status OpenSegments();
  void MatchDocuments();
  absl::Status LoadShards();
  absl::StatusOr<Keys> ReadKeys(const Segment& segment) const;
  void LoadShard(Segment* segment, Keys keys);
  absl::Status CommitRepairs();
  void Report(const absl::Status& problem);
  void Damaged(Document* document, const std::string& why);

  BankParts* const parts_;
  EncodingQueue* const queue_;
  std::vector<Segment> segments_;
  absl::flat_hash_map<uint64_t, size_t> segment_index_;  // by id
  std::vector<Document> documents_;                      // in ascending number
  std::vector<DocumentRow> accepted_;
  std::vector<uint32_t> deleted_;
};

}  // namespace msa::engine
