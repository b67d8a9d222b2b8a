#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/ops/cpu_ops.h"

namespace msa::kernels::cpu {
namespace {

struct Candidate {
  float logit;
  int32_t id;
  // In a heap the likeliest candidate is the largest; equal logits: the lower id.
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit < b.logit : a.id > b.id;
  }
};

}  // namespace

absl::StatusOr<int32_t> SampleToken(const SampleArgs& args) {
  const size_t count = args.allowed.empty() ? args.logits.size() : args.allowed.size();
  const auto id_of = [&](size_t i) {
    return args.allowed.empty() ? static_cast<int32_t>(i) : args.allowed[i];
  };
  Candidate best{args.logits[static_cast<size_t>(id_of(0))], id_of(0)};
  for (size_t i = 0; i < count; ++i) {
    const Candidate candidate{args.logits[static_cast<size_t>(id_of(i))], id_of(i)};
    if (std::isnan(candidate.logit)) {
      return absl::InternalError(
          absl::StrCat("SampleToken: the logit of id ", candidate.id, " is NaN"));
    }
    if (best < candidate) best = candidate;
  }
  if (args.temperature == 0) return best.id;

  // Weights relative to the likeliest one; an infinite logit equal to the best has weight 1.
  const auto weight = [&](float logit) {
    if (logit == best.logit) return 1.0;
    return std::exp((static_cast<double>(logit) - best.logit) / args.temperature);
  };
  std::vector<Candidate> heap;
  heap.reserve(count);
  double total = 0;
  for (size_t i = 0; i < count; ++i) {
    heap.push_back({args.logits[static_cast<size_t>(id_of(i))], id_of(i)});
    total += weight(heap.back().logit);
  }
  // Candidates leave the heap in the order of likelihood until the nucleus is complete; most of the
  // heap stays unsorted.
  std::make_heap(heap.begin(), heap.end());
  std::vector<Candidate> nucleus;
  double mass = 0;
  while (!heap.empty() && (nucleus.empty() || mass < args.top_p * total)) {
    std::pop_heap(heap.begin(), heap.end());
    nucleus.push_back(heap.back());
    heap.pop_back();
    mass += weight(nucleus.back().logit);
  }
  const double target = args.uniform * mass;
  double passed = 0;
  for (const Candidate& candidate : nucleus) {
    passed += weight(candidate.logit);
    if (target < passed) return candidate.id;
  }
  return nucleus.back().id;
}

}  // namespace msa::kernels::cpu
