#include "kernels/ops/rms_norm.h"

#include <cmath>

#include "kernels/core/status_macros.h"
#include "kernels/core/stream.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/cuda_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {

absl::Status RmsNorm(const OpContext& context, TensorView<const float, 2> input,
                     TensorView<const float, 1> weight, float epsilon,
                     TensorView<float, 2> output) {
  constexpr char kOp[] = "RmsNorm";
  MSA_RETURN_IF_ERROR(CheckContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "input", input));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "weight", weight));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "output", output));
  if (input.shape != output.shape || weight.shape[0] != input.shape[1] || input.shape[1] < 1) {
    return ArgumentError(
        kOp, absl::StrCat("input ", ShapeOf(input), ", weight ", ShapeOf(weight), " and output ",
                          ShapeOf(output), " are not [T, M], [M] and [T, M] with M >= 1"));
  }
  if (!(epsilon >= 0) || !std::isfinite(epsilon))
    return ArgumentError(kOp, absl::StrCat("epsilon is ", epsilon));
  if (context.device == DeviceKind::kCpu) {
    cpu::RmsNorm(*context.pool, input, weight, epsilon, output);
  } else if constexpr (kBuiltWithCuda) {
    return CudaStatus(
        cuda::RmsNorm(context.stream->handle(), input, weight.data, epsilon, output.data), kOp);
  }
  return absl::OkStatus();
}

}  // namespace msa::kernels
