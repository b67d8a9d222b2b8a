#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::kernels {

// output[t, :] = table[token_ids[t], :]; table [V, M] bf16 or f32, output [T, M]. INVALID_ARGUMENT
// names an id outside [0, V).
absl::Status Embed(const OpContext& context, const MatrixView& table,
                   absl::Span<const int32_t> token_ids, TensorView<float, 2> output);

}  // namespace msa::kernels
