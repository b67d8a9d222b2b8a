#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace msa::engine {

// What a query keeps of a round's prompt for the next round, whose prompt begins with the same
// tokens. Layers below the first MSA layer never see memory, so rows behind the same tokens come
// out of them the same, bit for bit, and need not be computed again. Memory of its own, not pages:
// a query that waits for its next round holds none of those. It may be dropped at any time.
struct KeptRows {
  std::vector<int32_t> token_ids;  // [T]; empty: nothing is kept
  std::vector<float> hidden;       // [T, M], what goes into the first MSA layer
  // [layers below it]: keys and values of the T rows, page by page as in KvRows.
  std::vector<std::vector<std::byte>> pages;

  int64_t bytes() const {
    size_t sum = hidden.size() * sizeof(float);
    for (const std::vector<std::byte>& layer : pages) sum += layer.size();
    return static_cast<int64_t>(sum);
  }
};

}  // namespace msa::engine
