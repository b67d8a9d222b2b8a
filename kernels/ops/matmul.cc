#include "kernels/ops/matmul.h"

#include "kernels/core/status_macros.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {

absl::Status MatMul(const OpContext& context, const MatMulArgs& args) {
  constexpr char kOp[] = "MatMul";
  MSA_RETURN_IF_ERROR(CheckCpuContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "input", args.input));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "output", args.output));
  MSA_RETURN_IF_ERROR(CheckStoredDType(kOp, "weight", args.weight.dtype));
  const auto [m, k] = args.input.shape;
  if (args.weight.rows < 0 || k < 1 || args.weight.columns != k || args.output.shape[0] != m ||
      args.output.shape[1] != args.weight.rows) {
    return ArgumentError(
        kOp, absl::StrCat("input ", ShapeOf(args.input), ", weight [", args.weight.rows, ", ",
                          args.weight.columns, "] and output ", ShapeOf(args.output),
                          " are not [M, K], [N, K] and [M, N] with K >= 1"));
  }
  if (m == 0 || args.weight.rows == 0) return absl::OkStatus();
  if (args.weight.data == nullptr) return ArgumentError(kOp, "weight has no data");
  cpu::MatMul(*context.pool, args);
  return absl::OkStatus();
}

}  // namespace msa::kernels
