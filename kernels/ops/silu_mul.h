#pragma once

#include "absl/status/status.h"
#include "kernels/core/device.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::kernels {

// output[t, f] = gate[t, f] * sigmoid(gate[t, f]) * up[t, f]; all [T, F]; output may be gate or up.
absl::Status SiluMul(const OpContext& context, HostView<const float, 2> gate,
                     HostView<const float, 2> up, HostView<float, 2> output);

// The same on a CUDA device. Queued on the default stream: a copy of the output to the host waits
// for it. UNIMPLEMENTED or FAILED_PRECONDITION where CheckDeviceAvailable says so.
absl::Status SiluMulOnDevice(const OpContext& context, DeviceView<const float, 2> gate,
                             DeviceView<const float, 2> up, DeviceView<float, 2> output);

}  // namespace msa::kernels
