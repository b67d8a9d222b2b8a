#include "kernels/ops/gather_memory.h"

#include "kernels/core/status_macros.h"
#include "kernels/core/stream.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/cuda_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {
namespace {

// Rows [first_row, first_row + num_rows) must lie in the pages, and every page that they touch must
// be there.
absl::Status CheckPages(const char* op, const KvPageShape& shape, absl::Span<void* const> pages,
                        int64_t first_row, int64_t num_rows) {
  MSA_RETURN_IF_ERROR(CheckStoredDType(op, "KV pages", shape.dtype));
  if (shape.num_kv_heads < 1 || shape.rows_per_page < 1 || shape.head_dim < 1) {
    return ArgumentError(op, absl::StrCat("pages of [2, ", shape.num_kv_heads, ", ",
                                          shape.rows_per_page, ", ", shape.head_dim, "]"));
  }
  const int64_t capacity = static_cast<int64_t>(pages.size()) * shape.rows_per_page;
  if (first_row < 0 || num_rows < 0 || num_rows > capacity || first_row > capacity - num_rows) {
    return ArgumentError(
        op, absl::StrCat(num_rows, " rows from row ", first_row, " do not fit ", pages.size(),
                         " pages of ", shape.rows_per_page, " rows"));
  }
  for (int64_t row = first_row; row < first_row + num_rows;
       row += shape.rows_per_page - row % shape.rows_per_page) {
    if (pages[static_cast<size_t>(row / shape.rows_per_page)] == nullptr) {
      return ArgumentError(op, absl::StrCat("page ", row / shape.rows_per_page, " is null"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status GatherMemory(const OpContext& context, const GatherMemoryArgs& args) {
  constexpr char kOp[] = "GatherMemory";
  MSA_RETURN_IF_ERROR(CheckContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckStoredDType(kOp, "content", args.content_dtype));
  MSA_RETURN_IF_ERROR(CheckPages(kOp, args.shape, args.pages, args.first_row, args.num_chunks));
  if (args.content == nullptr && args.num_chunks > 0)
    return ArgumentError(kOp, "content has no data");
  if (context.device == DeviceKind::kCpu) {
    cpu::GatherMemory(*context.pool, args);
  } else if constexpr (kBuiltWithCuda) {
    if (args.num_chunks == 0) return absl::OkStatus();
    const int64_t width = args.shape.num_kv_heads * args.shape.head_dim;
    const auto* const keys = static_cast<const std::byte*>(args.content);
    MSA_ASSIGN_OR_RETURN(void* const* const pages, context.stream->Upload(args.pages));
    return CudaStatus(
        cuda::StoreRows(context.stream->handle(),
                        {keys, keys + static_cast<size_t>(width) * SizeOf(args.content_dtype),
                         args.content_dtype, 2 * width, args.num_chunks},
                        args.shape, pages, args.first_row),
        kOp);
  }
  return absl::OkStatus();
}

absl::Status StoreLocal(const OpContext& context, const StoreLocalArgs& args) {
  constexpr char kOp[] = "StoreLocal";
  MSA_RETURN_IF_ERROR(CheckContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "key", args.key));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "value", args.value));
  MSA_RETURN_IF_ERROR(CheckPages(kOp, args.shape, args.pages, args.first_row, args.key.shape[0]));
  if (args.key.shape != args.value.shape || args.key.shape[1] != args.shape.num_kv_heads ||
      args.key.shape[2] != args.shape.head_dim) {
    return ArgumentError(
        kOp,
        absl::StrCat("key ", ShapeOf(args.key), " and value ", ShapeOf(args.value), " are not [T, ",
                     args.shape.num_kv_heads, ", ", args.shape.head_dim, "]"));
  }
  if (context.device == DeviceKind::kCpu) {
    cpu::StoreLocal(*context.pool, args);
  } else if constexpr (kBuiltWithCuda) {
    MSA_ASSIGN_OR_RETURN(void* const* const pages, context.stream->Upload(args.pages));
    return CudaStatus(
        cuda::StoreRows(context.stream->handle(),
                        {args.key.data, args.value.data, DType::kF32,
                         args.shape.num_kv_heads * args.shape.head_dim, args.key.shape[0]},
                        args.shape, pages, args.first_row),
        kOp);
  }
  return absl::OkStatus();
}

}  // namespace msa::kernels
