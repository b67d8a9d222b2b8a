#include "engine/memory/segment_table.h"

namespace msa::engine {

SegmentUse UseOf(const SegmentReader& segment) {
  SegmentUse use;
  use.instruction_set = segment.instruction_set();
  use.num_documents = static_cast<int64_t>(segment.documents().size());
  for (const SegmentDocument& document : segment.documents()) {
    use.num_tokens += document.num_tokens;
    use.num_chunks += document.num_chunks;
  }
  use.file_bytes = static_cast<int64_t>(segment.file_bytes());
  return use;
}

SegmentRow RowOf(const SegmentReader& segment) {
  SegmentRow row;
  row.id = segment.segment_id();
  row.version = kSegmentVersion;
  row.instruction_set = segment.instruction_set();
  row.num_documents = static_cast<int64_t>(segment.documents().size());
  row.file_bytes = static_cast<int64_t>(segment.file_bytes());
  row.num_chunks = UseOf(segment).num_chunks;
  return row;
}

bool Holds(const SegmentReader& segment, const DocumentRow& row) {
  const auto table = segment.documents();
  const auto index = static_cast<size_t>(row.document_in_segment);
  return index < table.size() && table[index].number == row.number &&
         table[index].num_tokens == row.num_tokens && table[index].num_chunks == row.num_chunks &&
         table[index].text_hash == row.text_hash;
}

}  // namespace msa::engine
