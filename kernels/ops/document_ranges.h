#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "kernels/core/thread_pool.h"
#include "kernels/ops/score_chunks.h"

namespace msa::kernels {

// A whole number of documents of one extent.
struct DocumentRange {
  size_t extent;
  size_t first_document;
  size_t end_document;
};

// Runs of documents to be passed over one after the other. Each run belongs to one of few owners,
// so that what an owner keeps does not grow with the number of extents.
struct DocumentRuns {
  std::vector<DocumentRange> ranges;
  size_t num_owners = 0;
};

inline DocumentRuns CutDocuments(absl::Span<const KeyExtent> extents, const ThreadPool& pool) {
  constexpr size_t kFewestChunksPerRange = 64;
  constexpr size_t kOwnersPerThread = 4;
  size_t num_chunks = 0;
  for (const KeyExtent& extent : extents) num_chunks += extent.chunk_offsets.back();
  const size_t num_owners = kOwnersPerThread * static_cast<size_t>(pool.num_threads());
  const size_t chunks_per_range =
      std::max(kFewestChunksPerRange, (num_chunks + num_owners - 1) / num_owners);
  DocumentRuns runs;
  for (size_t e = 0; e < extents.size(); ++e) {
    const absl::Span<const uint32_t> offsets = extents[e].chunk_offsets;
    const size_t num_documents = extents[e].numbers.size();
    for (size_t first = 0; first < num_documents;) {
      const auto* const found = std::lower_bound(offsets.begin() + first + 1, offsets.end(),
                                                 offsets[first] + chunks_per_range);
      const size_t end = std::min(static_cast<size_t>(found - offsets.begin()), num_documents);
      runs.ranges.push_back({e, first, end});
      first = end;
    }
  }
  runs.num_owners = std::min(num_owners, runs.ranges.size());
  return runs;
}

// body(owner, range) for every range; an owner's ranges one after the other.
template <class Body>
void ForEachRange(ThreadPool& pool, const DocumentRuns& runs, const Body& body) {
  pool.ParallelFor(static_cast<int64_t>(runs.num_owners), [&](int64_t owner) {
    for (auto i = static_cast<size_t>(owner); i < runs.ranges.size(); i += runs.num_owners) {
      body(static_cast<size_t>(owner), runs.ranges[i]);
    }
  });
}

}  // namespace msa::kernels
