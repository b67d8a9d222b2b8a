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

}  // namespace msa::engine
