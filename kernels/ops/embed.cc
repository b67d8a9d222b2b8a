#include "kernels/ops/embed.h"

#include "kernels/core/status_macros.h"
#include "kernels/core/stream.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/cuda_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {

absl::Status Embed(const OpContext& context, const MatrixView& table,
                   absl::Span<const int32_t> token_ids, TensorView<float, 2> output) {
  constexpr char kOp[] = "Embed";
  MSA_RETURN_IF_ERROR(CheckContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckStoredDType(kOp, "table", table.dtype));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "output", output));
  if (output.shape[0] != static_cast<int64_t>(token_ids.size()) ||
      output.shape[1] != table.columns || (table.data == nullptr && table.rows > 0)) {
    return ArgumentError(kOp, absl::StrCat(token_ids.size(), " ids and a table [", table.rows, ", ",
                                           table.columns, "] do not fit output ", ShapeOf(output)));
  }
  for (size_t t = 0; t < token_ids.size(); ++t) {
    if (token_ids[t] < 0 || token_ids[t] >= table.rows) {
      return ArgumentError(kOp, absl::StrCat("token id ", token_ids[t], " at ", t,
                                             " is outside [0, ", table.rows, ")"));
    }
  }
  if (context.device == DeviceKind::kCpu) {
    cpu::Embed(*context.pool, table, token_ids, output);
  } else if constexpr (kBuiltWithCuda) {
    MSA_ASSIGN_OR_RETURN(const int32_t* const ids, context.stream->Upload(token_ids));
    return CudaStatus(cuda::Embed(context.stream->handle(), table, ids, output), kOp);
  }
  return absl::OkStatus();
}

}  // namespace msa::kernels
