#include "kernels/ops/silu_mul.h"

#include "kernels/core/device_cuda.h"
#include "kernels/core/status_macros.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/op_arguments.h"
#include "kernels/ops/silu_mul_cuda.h"

namespace msa::kernels {
namespace {

constexpr char kOp[] = "SiluMul";

}  // namespace

absl::Status SiluMul(const OpContext& context, HostView<const float, 2> gate,
                     HostView<const float, 2> up, HostView<float, 2> output) {
  if (context.device == DeviceKind::kCuda) {
    MSA_RETURN_IF_ERROR(CheckDeviceAvailable(context.device));
    return ArgumentError(kOp, "host memory was given for device cuda");
  }
  MSA_RETURN_IF_ERROR(CheckCpuContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "gate", gate));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "up", up));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "output", output));
  if (gate.shape != up.shape || gate.shape != output.shape) {
    return ArgumentError(kOp, absl::StrCat("gate ", ShapeOf(gate), ", up ", ShapeOf(up),
                                           " and output ", ShapeOf(output), " differ"));
  }
  cpu::SiluMul(*context.pool, gate, up, output);
  return absl::OkStatus();
}

absl::Status SiluMulOnDevice(const OpContext& context, DeviceView<const float, 2> gate,
                             DeviceView<const float, 2> up, DeviceView<float, 2> output) {
  if (context.device != DeviceKind::kCuda)
    return ArgumentError(kOp, "device memory was given for device cpu");
  MSA_RETURN_IF_ERROR(CheckDeviceAvailable(context.device));
  if (gate.shape != up.shape || gate.shape != output.shape || gate.shape[0] < 0 ||
      gate.shape[1] < 0) {
    return ArgumentError(kOp, "gate, up and output on device cuda differ in shape");
  }
  if constexpr (kBuiltWithCuda) {
    const cudaError_t error = cuda::SiluMul(gate.device_data, up.device_data,
                                            gate.shape[0] * gate.shape[1], output.device_data);
    if (error != cudaError_t{}) {
      return absl::InternalError(absl::StrCat(kOp, " [", gate.shape[0], ", ", gate.shape[1],
                                              "] on device cuda: ", cuda::ErrorText(error)));
    }
  }
  return absl::OkStatus();
}

}  // namespace msa::kernels
