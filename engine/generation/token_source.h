#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/core/op_context.h"

namespace msa::engine {

// Where a sequence's next token comes from: the sampler, or a script in tests. Called on the rank's
// thread that computed the logits, one call at a time per sequence.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  // logits [V]; `allowed` as in kernels::SampleArgs (empty: every id).
  virtual absl::StatusOr<int32_t> Choose(const kernels::OpContext& context,
                                         absl::Span<const float> logits,
                                         absl::Span<const int32_t> allowed) = 0;
};

}  // namespace msa::engine
