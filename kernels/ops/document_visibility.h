#pragma once

#include <cstddef>

#include "kernels/ops/score_chunks.h"

namespace msa::kernels {

// Which documents the queries of a ScoreChunks may find.
class DocumentVisibility {
 public:
  explicit DocumentVisibility(const ScoreChunksArgs& args) : args_(args) {}

  bool HasRows(size_t query) const {
    return args_.query_offsets[query] < args_.query_offsets[query + 1];
  }
  bool MayFind(size_t query, const KeyExtent& extent, size_t document) const {
    const uint64_t revision = args_.query_revisions[query];
    if (!HasRows(query) || extent.from_revision[document] > revision ||
        revision >= extent.to_revision[document]) {
      return false;
    }
    const NumberSet* const filter =
        args_.query_filters.empty() ? nullptr : args_.query_filters[query];
    return filter == nullptr || filter->Contains(extent.numbers[document]);
  }
  bool AnyMayFind(const KeyExtent& extent, size_t document) const {
    for (size_t query = 0; query + 1 < args_.query_offsets.size(); ++query) {
      if (MayFind(query, extent, document)) return true;
    }
    return false;
  }

 private:
  const ScoreChunksArgs& args_;
};

}  // namespace msa::kernels
