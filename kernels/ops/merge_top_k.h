#pragma once

#include <vector>

#include "absl/types/span.h"
#include "kernels/ops/score_chunks.h"

namespace msa::kernels {

// The best k of several lists, each in the order of ScoredDocument; `owners[i]` of the result is
// the list it came from.
struct MergedTopK {
  std::vector<ScoredDocument> documents;
  std::vector<int> owners;
};
MergedTopK MergeTopK(absl::Span<const absl::Span<const ScoredDocument>> lists, int64_t k);

}  // namespace msa::kernels
