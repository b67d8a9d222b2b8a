#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace msa::engine {

// Which rank gets the next document: the one with the fewest chunks, of equal ones the lowest.
class ShardAssignment {
 public:
  explicit ShardAssignment(int num_shards) : chunks_(static_cast<size_t>(num_shards)) {}

  int Assign(int64_t num_chunks) {
    const auto least = std::min_element(chunks_.begin(), chunks_.end());
    *least += num_chunks;
    return static_cast<int>(least - chunks_.begin());
  }

 private:
  // [R], with those of documents that are deleted but still in memory.
  std::vector<int64_t> chunks_;
};

}  // namespace msa::engine
