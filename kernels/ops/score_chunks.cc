#include "kernels/ops/score_chunks.h"

#include <cmath>

#include "kernels/core/status_macros.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {
namespace {

constexpr char kOp[] = "ScoreChunks";

absl::Status CheckExtent(const KeyExtent& extent) {
  MSA_RETURN_IF_ERROR(CheckStoredDType(kOp, "keys", extent.dtype));
  const size_t num_documents = extent.numbers.size();
  if (extent.from_revision.size() != num_documents || extent.to_revision.size() != num_documents ||
      extent.chunk_offsets.size() != num_documents + 1) {
    return ArgumentError(kOp, absl::StrCat("an extent of ", num_documents, " numbers has ",
                                           extent.chunk_offsets.size(), " chunk offsets, ",
                                           extent.from_revision.size(), " from_revision and ",
                                           extent.to_revision.size(), " to_revision"));
  }
  const auto num_chunks = static_cast<int64_t>(extent.chunk_offsets.back());
  MSA_RETURN_IF_ERROR(CheckOffsets(kOp, "chunk_offsets", extent.chunk_offsets, num_chunks));
  if (num_chunks > 0 && extent.keys == nullptr) return ArgumentError(kOp, "an extent has no keys");
  if (reinterpret_cast<uintptr_t>(extent.quantized_keys) % 64 != 0) {
    return ArgumentError(kOp, "an extent's quantized keys are not aligned to 64 bytes");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ScoreChunks(const OpContext& context, const ScoreChunksArgs& args) {
  MSA_RETURN_IF_ERROR(CheckCpuContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "query", args.query));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "top", args.top));
  if (args.num_kv_heads < 1 || args.head_dim < 1 || args.num_query_heads < 1 ||
      args.num_query_heads % args.num_kv_heads != 0) {
    return ArgumentError(
        kOp,
        absl::StrCat(args.num_query_heads, " query heads, ", args.num_kv_heads, " KV heads of ",
                     args.head_dim, " dimensions: the first must be a multiple of the second"));
  }
  const int64_t heads =
      args.head_reduce == HeadReduce::kMean ? args.num_kv_heads : args.num_query_heads;
  if (args.query.shape[1] != heads * args.head_dim) {
    return ArgumentError(kOp, absl::StrCat("query ", ShapeOf(args.query), " must have ",
                                           heads * args.head_dim, " columns"));
  }
  MSA_RETURN_IF_ERROR(CheckOffsets(kOp, "query_offsets", args.query_offsets, args.query.shape[0]));
  const auto num_queries = static_cast<int64_t>(args.query_offsets.size()) - 1;
  if (static_cast<int64_t>(args.query_revisions.size()) != num_queries ||
      static_cast<int64_t>(args.num_found.size()) != num_queries ||
      (!args.query_filters.empty() &&
       static_cast<int64_t>(args.query_filters.size()) != num_queries) ||
      args.top_k < 0 || args.top.shape[0] != num_queries || args.top.shape[1] != args.top_k) {
    return ArgumentError(
        kOp, absl::StrCat(num_queries, " queries and top_k ", args.top_k, " with ",
                          args.query_revisions.size(), " revisions, ", args.query_filters.size(),
                          " filters, top ", ShapeOf(args.top), " and ", args.num_found.size(),
                          " num_found"));
  }
  if (!std::isfinite(args.scale)) return ArgumentError(kOp, absl::StrCat("scale is ", args.scale));
  for (const KeyExtent& extent : args.extents) MSA_RETURN_IF_ERROR(CheckExtent(extent));
  for (int64_t& found : args.num_found) found = 0;
  if (num_queries > 0 && args.top_k > 0) cpu::ScoreChunks(*context.pool, args);
  return absl::OkStatus();
}

}  // namespace msa::kernels
