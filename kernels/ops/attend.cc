#include "kernels/ops/attend.h"

#include "kernels/core/status_macros.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {
namespace {

constexpr char kOp[] = "Attend";

absl::StatusOr<int64_t> CountRows(const char* name, absl::Span<const KvSpan> spans,
                                  const KvPageShape& shape) {
  int64_t num_rows = 0;
  for (const KvSpan& span : spans) {
    if (span.num_rows < 0 || span.num_rows > shape.rows_per_page ||
        (span.num_rows > 0 && span.page == nullptr)) {
      return ArgumentError(
          kOp, absl::StrCat("one of the ", name, " has ", span.num_rows, " rows of a page of ",
                            shape.rows_per_page, span.page == nullptr ? ", and no page" : ""));
    }
    num_rows += span.num_rows;
  }
  return num_rows;
}

absl::Status CheckGroup(const AttendGroup& group, int64_t num_rows, const KvPageShape& shape) {
  if (group.row_begin < 0 || group.row_end < group.row_begin || group.row_end > num_rows ||
      static_cast<int64_t>(group.visible.size()) != group.row_end - group.row_begin) {
    return ArgumentError(
        kOp, absl::StrCat("a group has rows [", group.row_begin, ", ", group.row_end, ") of ",
                          num_rows, " and ", group.visible.size(), " visible counts"));
  }
  MSA_RETURN_IF_ERROR(CountRows("shared spans", group.shared_spans, shape).status());
  MSA_ASSIGN_OR_RETURN(const int64_t num_local, CountRows("local spans", group.local_spans, shape));
  for (const int32_t visible : group.visible) {
    if (visible < 0 || visible > num_local) {
      return ArgumentError(kOp,
                           absl::StrCat("a row sees ", visible, " of ", num_local, " local rows"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Attend(const OpContext& context, const AttendArgs& args) {
  MSA_RETURN_IF_ERROR(CheckCpuContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "query", args.query));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "output", args.output));
  MSA_RETURN_IF_ERROR(CheckStoredDType(kOp, "KV pages", args.shape.dtype));
  const KvPageShape& shape = args.shape;
  if (args.query.shape != args.output.shape || shape.num_kv_heads < 1 || shape.rows_per_page < 1 ||
      shape.head_dim < 1 || args.query.shape[2] != shape.head_dim || args.query.shape[1] < 1 ||
      args.query.shape[1] % shape.num_kv_heads != 0) {
    return ArgumentError(
        kOp, absl::StrCat("query ", ShapeOf(args.query), " and output ", ShapeOf(args.output),
                          " do not fit pages of [2, ", shape.num_kv_heads, ", ",
                          shape.rows_per_page, ", ", shape.head_dim, "]"));
  }
  for (const AttendGroup& group : args.groups)
    MSA_RETURN_IF_ERROR(CheckGroup(group, args.query.shape[0], shape));
  cpu::Attend(*context.pool, args);
  return absl::OkStatus();
}

}  // namespace msa::kernels
