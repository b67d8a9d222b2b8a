#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/memory/documents/encoded_document.h"
#include "engine/memory/segments/segment_files.h"

namespace msa::engine {

struct SegmentInput {
  uint32_t number = 0;
  uint64_t text_hash = 0;
  const EncodedDocument* encoded = nullptr;  // of the size that `geometry` says
};

// Writes one segment under a temporary name, syncs it, renames it and syncs the directory: when
// this returns ok the file is there for good. On an error nothing is left but perhaps a file that
// no catalog knows; it is removed when the bank opens.
absl::Status WriteSegment(const SegmentFiles& files, uint64_t segment_id,
                          const MemoryGeometry& geometry, absl::Span<const SegmentInput> documents);

// What `encoded` must look like; INTERNAL says what differs.
absl::Status CheckEncoded(const EncodedDocument& encoded, int64_t num_tokens,
                          const MemoryGeometry& geometry);

}  // namespace msa::engine
