#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "kernels/ops/score_chunks.h"

namespace msa::kernels {

// The best k of the documents offered so far. What it holds does not depend on the order in which
// they were offered.
class RunningTopK {
 public:
  explicit RunningTopK(size_t k) : k_(k) {}

  bool HasPlaceFor(const ScoredDocument& document) const {
    return !is_full() || (k_ > 0 && document < heap_.front());
  }
  void Offer(const ScoredDocument& document) {
    if (!HasPlaceFor(document)) return;
    if (is_full()) {
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.pop_back();
    }
    heap_.push_back(document);
    std::push_heap(heap_.begin(), heap_.end());
  }

  bool is_full() const { return heap_.size() == k_; }
  const ScoredDocument& worst() const { return heap_.front(); }           // not of an empty one
  const std::vector<ScoredDocument>& documents() const { return heap_; }  // in no particular order

 private:
  size_t k_;
  std::vector<ScoredDocument> heap_;  // the worst in front
};

}  // namespace msa::kernels
