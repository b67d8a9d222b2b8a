#include "engine/generation/sampler.h"

#include "kernels/core/status_macros.h"
#include "kernels/ops/sample.h"

namespace msa::engine {
namespace {

constexpr uint64_t kWeyl = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio, odd

// The output function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
// generators, 2014).
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace

double UniformForToken(uint64_t seed, uint64_t token_index) {
  // The seed is mixed first: otherwise seeds that differ by a multiple of kWeyl would share a
  // shifted sequence.
  const uint64_t bits = Mix(Mix(seed + kWeyl) + (token_index + 1) * kWeyl);
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

absl::StatusOr<int32_t> Sampler::Choose(const kernels::OpContext& context,
                                        absl::Span<const float> logits,
                                        absl::Span<const int32_t> allowed) {
  kernels::SampleArgs args;
  args.logits = logits;
  args.allowed = allowed;
  args.temperature = params_.temperature;
  args.top_p = params_.top_p;
  args.uniform = UniformForToken(params_.seed, token_index_);
  MSA_ASSIGN_OR_RETURN(const int32_t token_id, kernels::SampleToken(context, args));
  ++token_index_;
  return token_id;
}

}  // namespace msa::engine
