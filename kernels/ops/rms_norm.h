#pragma once

#include "absl/status/status.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::kernels {

// output[t, :] = input[t, :] / sqrt(mean(input[t, :]^2) + epsilon) * weight; input and output [T,
// M] (may be the same memory), weight [M]. The per-head norm of q and k is the same op on [T *
// heads, D].
absl::Status RmsNorm(const OpContext& context, TensorView<const float, 2> input,
                     TensorView<const float, 1> weight, float epsilon, TensorView<float, 2> output);

}  // namespace msa::kernels
