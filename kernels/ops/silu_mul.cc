#include "kernels/ops/silu_mul.h"

#include "kernels/core/status_macros.h"
#include "kernels/core/stream.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/cuda_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {

absl::Status SiluMul(const OpContext& context, TensorView<const float, 2> gate,
                     TensorView<const float, 2> up, TensorView<float, 2> output) {
  constexpr char kOp[] = "SiluMul";
  MSA_RETURN_IF_ERROR(CheckContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "gate", gate));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "up", up));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "output", output));
  if (gate.shape != up.shape || gate.shape != output.shape) {
    return ArgumentError(kOp, absl::StrCat("gate ", ShapeOf(gate), ", up ", ShapeOf(up),
                                           " and output ", ShapeOf(output), " differ"));
  }
  if (context.device == DeviceKind::kCpu) {
    cpu::SiluMul(*context.pool, gate, up, output);
  } else if constexpr (kBuiltWithCuda) {
    return CudaStatus(
        cuda::SiluMul(context.stream->handle(), gate.data, up.data, gate.size(), output.data), kOp);
  }
  return absl::OkStatus();
}

}  // namespace msa::kernels
