#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops/score_chunks.h"

namespace msa::engine {

// The documents that one MSA layer reads in one round, best first: higher score, then the lower
// number. The same for any number of shards.
struct Selection {
  std::vector<kernels::ScoredDocument> documents;
  std::vector<int> owners;          // [documents] the rank whose shard holds it
  std::vector<int64_t> num_chunks;  // [documents]
};

}  // namespace msa::engine
