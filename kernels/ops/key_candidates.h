#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "kernels/core/thread_pool.h"
#include "kernels/ops/score_chunks.h"

namespace msa::kernels {

// Whether there can be a first pass at all: its bounds are those of a maximum of sums.
constexpr bool FirstPassReduces(HeadReduce heads, QueryReduce rows, ChunkReduce chunks) {
  return heads == HeadReduce::kMean && rows == QueryReduce::kMax && chunks == ChunkReduce::kMax;
}

// Whether a pass over quantised keys can say which documents matter: every extent has them, the
// reductions are as above, the scale is within 1e-3 to 1e3, there is a query that may find
// any document, and the documents are many more than those looked for.
bool HasFirstPass(const ScoreChunksArgs& args);

struct DocumentPlace {
  size_t extent;
  size_t document;
  friend auto operator<=>(const DocumentPlace&, const DocumentPlace&) = default;
};

// The documents that may be among the best k of a query, ascending, each once; all others are
// proved not to be. One pass over the quantised keys:
//   lower(d) <= score(d) <= upper(d)           (int8_scan.h, the maximum over rows and chunks)
//   d is left out if upper(d) < the k-th largest lower of the query's visible documents
// Nothing: a query's rows are not finite, or more documents remain than are worth reading again.
// Scratch memory does not grow with the number of chunks.
std::optional<std::vector<DocumentPlace>> FindCandidates(ThreadPool& pool,
                                                         const ScoreChunksArgs& args);

}  // namespace msa::kernels
