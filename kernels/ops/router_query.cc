#include "kernels/ops/router_query.h"

#include "kernels/core/status_macros.h"
#include "kernels/core/stream.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/cuda_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {

absl::Status RouterQuery(const OpContext& context, const RouterQueryArgs& args) {
  constexpr char kOp[] = "RouterQuery";
  MSA_RETURN_IF_ERROR(CheckContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "heads", args.heads));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "output", args.output));
  const auto [num_rows, num_heads, head_dim] = args.heads.shape;
  if (args.num_kv_heads < 1 || num_heads < 1 || head_dim < 1 ||
      num_heads % args.num_kv_heads != 0) {
    return ArgumentError(kOp, absl::StrCat("heads ", ShapeOf(args.heads), " cannot be shared by ",
                                           args.num_kv_heads, " KV heads"));
  }
  const int64_t columns = (args.sum_groups ? args.num_kv_heads : num_heads) * head_dim;
  if (args.output.shape[0] != num_rows || args.output.shape[1] != columns) {
    return ArgumentError(kOp, absl::StrCat("output ", ShapeOf(args.output), " is not [", num_rows,
                                           ", ", columns, "]"));
  }
  if (context.device == DeviceKind::kCpu) {
    cpu::RouterQuery(*context.pool, args);
  } else if constexpr (kBuiltWithCuda) {
    return CudaStatus(cuda::RouterQuery(context.stream->handle(), args.heads, args.normalize,
                                        args.sum_groups, args.num_kv_heads, args.output.data),
                      kOp);
  }
  return absl::OkStatus();
}

}  // namespace msa::kernels
