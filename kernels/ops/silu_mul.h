#pragma once

#include "absl/status/status.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::kernels {

// output[t, f] = gate[t, f] * sigmoid(gate[t, f]) * up[t, f]; all [T, F]; output may be gate or up.
absl::Status SiluMul(const OpContext& context, TensorView<const float, 2> gate,
                     TensorView<const float, 2> up, TensorView<float, 2> output);

}  // namespace msa::kernels
