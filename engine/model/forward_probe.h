#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/core/tensor_view.h"

namespace msa::engine {

// Lets tests see what the production path computes. Called on rank threads, for one sequence at a
// time; all methods have empty defaults. With a probe the last layer computes every row, not only
// the one that decides the next token.
class ForwardProbe {
 public:
  virtual ~ForwardProbe() = default;
  // A round's prompt before its first layer; all [rows] but `routed_rows`.
  virtual void OnPrompt(absl::Span<const int32_t> /*token_ids*/,
                        absl::Span<const int32_t> /*positions*/,
                        absl::Span<const int32_t> /*routed_rows*/) {}
  // The routed rows of a prompt at an MSA layer, [routed rows, W].
  virtual void OnRouterQuery(int /*msa_index*/,
                             kernels::TensorView<const float, 2> /*router_query*/) {}
  // Rows that left a layer, [rows, M]; `first_row` counts from the first token of the round's
  // prompt.
  virtual void OnHidden(int64_t /*layer*/, int64_t /*first_row*/,
                        kernels::TensorView<const float, 2> /*hidden*/) {}
  virtual void OnLogits(kernels::TensorView<const float, 1> /*logits*/) {}
};

}  // namespace msa::engine
