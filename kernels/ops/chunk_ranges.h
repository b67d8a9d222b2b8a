#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace msa::kernels {

// Rows [begin, end) of a batch of documents that make one chunk.
struct ChunkRange {
  int64_t begin;
  int64_t end;
};

// The chunks of documents with rows doc_offsets[n] .. doc_offsets[n + 1], of tokens_per_chunk rows
// each, a document's last one shorter.
inline std::vector<ChunkRange> ChunksOf(absl::Span<const int64_t> doc_offsets,
                                        int64_t tokens_per_chunk) {
  std::vector<ChunkRange> chunks;
  for (size_t document = 0; document + 1 < doc_offsets.size(); ++document) {
    const int64_t end = doc_offsets[document + 1];
    for (int64_t begin = doc_offsets[document]; begin < end;) {
      const int64_t next = begin + std::min(tokens_per_chunk, end - begin);
      chunks.push_back({begin, next});
      begin = next;
    }
  }
  return chunks;
}

}  // namespace msa::kernels
