#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/core/op_context.h"

namespace msa::kernels {

struct SampleArgs {
  absl::Span<const float> logits = {};  // [V]
  // Empty: every id; otherwise only these (ascending, distinct, within [0, V)).
  absl::Span<const int32_t> allowed = {};
  float temperature = 0;  // 0: greedy
  float top_p = 1;     // (0, 1]: the smallest set of likeliest ids whose probabilities reach top_p
  double uniform = 0;  // [0, 1): the random number that decides, unused when greedy
};

// The next token. Greedy: the largest logit, ties to the lower id. Otherwise ids are ordered by
// logit (ties: lower id first), cut to the nucleus, and the one in which `uniform` falls is taken.
// Depends on its arguments only. INTERNAL if a candidate's logit is NaN.
absl::StatusOr<int32_t> SampleToken(const OpContext& context, const SampleArgs& args);

}  // namespace msa::kernels
