#include "kernels/ops/merge_top_k.h"

#include <cstddef>

namespace msa::kernels {

MergedTopK MergeTopK(absl::Span<const absl::Span<const ScoredDocument>> lists, int64_t k) {
  MergedTopK merged;
  std::vector<size_t> next(lists.size(), 0);
  while (static_cast<int64_t>(merged.documents.size()) < k) {
    size_t best = lists.size();
    for (size_t list = 0; list < lists.size(); ++list) {
      if (next[list] == lists[list].size()) continue;
      if (best == lists.size() || lists[list][next[list]] < lists[best][next[best]]) best = list;
    }
    if (best == lists.size()) break;
    merged.documents.push_back(lists[best][next[best]++]);
    merged.owners.push_back(static_cast<int>(best));
  }
  return merged;
}

}  // namespace msa::kernels
