#include "kernels/ops/pool_memory.h"

#include "kernels/core/status_macros.h"
#include "kernels/core/stream.h"
#include "kernels/ops/chunk_ranges.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/cuda_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {

absl::Status PoolMemory(const OpContext& context, const PoolMemoryArgs& args) {
  constexpr char kOp[] = "PoolMemory";
  MSA_RETURN_IF_ERROR(CheckContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "rows", args.rows));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "output", args.output));
  MSA_RETURN_IF_ERROR(CheckOffsets(kOp, "doc_offsets", args.doc_offsets, args.rows.shape[0]));
  if (args.tokens_per_chunk < 1) {
    return ArgumentError(kOp, absl::StrCat("tokens_per_chunk is ", args.tokens_per_chunk,
                                           "; it must be at least 1"));
  }
  const std::vector<ChunkRange> chunks = ChunksOf(args.doc_offsets, args.tokens_per_chunk);
  const auto num_chunks = static_cast<int64_t>(chunks.size());
  if (args.output.shape !=
      std::array<int64_t, 3>{num_chunks, args.rows.shape[1], args.rows.shape[2]}) {
    return ArgumentError(kOp,
                         absl::StrCat("rows ", ShapeOf(args.rows), " make ", num_chunks,
                                      " chunks, which do not fit output ", ShapeOf(args.output)));
  }
  if (context.device == DeviceKind::kCpu) {
    cpu::PoolMemory(*context.pool, args, chunks);
  } else if constexpr (kBuiltWithCuda) {
    static_assert(sizeof(ChunkRange) == 2 * sizeof(int64_t));
    MSA_ASSIGN_OR_RETURN(const ChunkRange* const ranges,
                         context.stream->Upload(absl::MakeConstSpan(chunks)));
    return CudaStatus(cuda::PoolMemory(context.stream->handle(), args.rows, &ranges->begin,
                                       num_chunks, args.normalize, args.output.data),
                      kOp);
  }
  return absl::OkStatus();
}

}  // namespace msa::kernels
