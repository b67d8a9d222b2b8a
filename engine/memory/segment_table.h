#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "engine/memory/catalog/catalog_reader.h"
#include "engine/memory/segments/segment_reader.h"

namespace msa::engine {

// How much of a segment is still needed. Belongs to the bank's thread.
struct SegmentUse {
  std::string instruction_set;  // segments of two do not merge
  int64_t num_documents = 0;
  int64_t num_dead = 0;    // documents that no row names any more
  int64_t num_tokens = 0;  // of all documents, as the next
  int64_t num_chunks = 0;
  int64_t file_bytes = 0;
};

// Of a segment that was just written or opened, without anything dead.
SegmentUse UseOf(const SegmentReader& segment);

// What the catalog says of a segment.
SegmentRow RowOf(const SegmentReader& segment);
// Whether the document is where its row says, and the same.
bool Holds(const SegmentReader& segment, const DocumentRow& row);

using SegmentTable = std::map<uint64_t, SegmentUse>;  // by id

}  // namespace msa::engine
