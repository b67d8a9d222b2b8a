#include "kernels/ops/causal_attention.h"

#include "kernels/core/status_macros.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {

absl::Status CausalAttention(const OpContext& context, const CausalAttentionArgs& args) {
  constexpr char kOp[] = "CausalAttention";
  MSA_RETURN_IF_ERROR(CheckCpuContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "query", args.query));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "key", args.key));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "value", args.value));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "output", args.output));
  const auto [num_rows, num_heads, head_dim] = args.query.shape;
  const int64_t num_kv_heads = args.key.shape[1];
  if (args.key.shape != args.value.shape || args.key.shape[0] != num_rows ||
      args.key.shape[2] != head_dim || head_dim < 1 || num_kv_heads < 1 || num_heads < 1 ||
      num_heads % num_kv_heads != 0) {
    return ArgumentError(
        kOp, absl::StrCat("query ", ShapeOf(args.query), ", key ", ShapeOf(args.key), " and value ",
                          ShapeOf(args.value), " are not [T, Hq, D], [T, Hkv, D] and [T, Hkv, D]"));
  }
  if (args.row_begin < 0 || args.row_end < args.row_begin || args.row_end > num_rows ||
      args.output.shape[0] != args.row_end - args.row_begin || args.output.shape[1] != num_heads ||
      args.output.shape[2] != head_dim) {
    return ArgumentError(kOp, absl::StrCat("rows [", args.row_begin, ", ", args.row_end, ") of ",
                                           num_rows, " with output ", ShapeOf(args.output)));
  }
  MSA_RETURN_IF_ERROR(CheckOffsets(kOp, "doc_offsets", args.doc_offsets, num_rows));
  cpu::CausalAttention(*context.pool, args);
  return absl::OkStatus();
}

}  // namespace msa::kernels
