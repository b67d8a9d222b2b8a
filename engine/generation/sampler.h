#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/generation/generation_params.h"
#include "engine/generation/token_source.h"

namespace msa::engine {

// The random number in [0, 1) for the token with this index in its request. A function of its two
// arguments, so that a request's tokens depend neither on its neighbours nor on when it ran.
double UniformForToken(uint64_t seed, uint64_t token_index);

// Chooses one request's tokens from the model's logits, over all its rounds.
class Sampler final : public TokenSource {
 public:
  explicit Sampler(const SamplingParams& params) : params_(params) {}

  absl::StatusOr<int32_t> Choose(const kernels::OpContext& context, absl::Span<const float> logits,
                                 absl::Span<const int32_t> allowed) override;

 private:
  const SamplingParams params_;
  uint64_t token_index_ = 0;  // tokens chosen so far
};

}  // namespace msa::engine
