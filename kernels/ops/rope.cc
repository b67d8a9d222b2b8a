#include "kernels/ops/rope.h"

#include <cmath>

#include "kernels/core/status_macros.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {

absl::Status Rope(const OpContext& context, HostView<float, 3> heads,
                  absl::Span<const int32_t> positions, double theta) {
  constexpr char kOp[] = "Rope";
  MSA_RETURN_IF_ERROR(CheckCpuContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "heads", heads));
  if (static_cast<int64_t>(positions.size()) != heads.shape[0] || heads.shape[2] < 2 ||
      heads.shape[2] % 2 != 0) {
    return ArgumentError(kOp,
                         absl::StrCat(positions.size(), " positions and heads ", ShapeOf(heads),
                                      ", which must be [T, H, D] with D even"));
  }
  for (const int32_t position : positions) {
    if (position < 0)
      return ArgumentError(kOp, absl::StrCat("position ", position, " is negative"));
  }
  if (!(theta > 0) || !std::isfinite(theta))
    return ArgumentError(kOp, absl::StrCat("theta is ", theta));
  cpu::Rope(*context.pool, heads, positions, theta);
  return absl::OkStatus();
}

}  // namespace msa::kernels
