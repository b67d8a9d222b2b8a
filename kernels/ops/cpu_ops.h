#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/core/tensor_view.h"
#include "kernels/core/thread_pool.h"
#include "kernels/ops/attend.h"
#include "kernels/ops/causal_attention.h"
#include "kernels/ops/chunk_ranges.h"
#include "kernels/ops/gather_memory.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/pool_memory.h"
#include "kernels/ops/rope.h"
#include "kernels/ops/router_query.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/score_chunks.h"

// The CPU path of every op, called by its OP.cc with arguments that have been checked.
namespace msa::kernels::cpu {

void Attend(ThreadPool& pool, const AttendArgs& args);
void CausalAttention(ThreadPool& pool, const CausalAttentionArgs& args);
void Embed(ThreadPool& pool, const MatrixView& table, absl::Span<const int32_t> token_ids,
           TensorView<float, 2> output);
void GatherMemory(ThreadPool& pool, const GatherMemoryArgs& args);
void StoreLocal(ThreadPool& pool, const StoreLocalArgs& args);
// At most kMostProducts, of weights in one dtype.
inline constexpr size_t kMostProducts = 8;
void MatMulEach(ThreadPool& pool, TensorView<const float, 2> input,
                absl::Span<const MatMulProduct> products, ComputeDType compute);
void PoolMemory(ThreadPool& pool, const PoolMemoryArgs& args, absl::Span<const ChunkRange> chunks);
void RmsNorm(ThreadPool& pool, TensorView<const float, 2> input, TensorView<const float, 1> weight,
             float epsilon, TensorView<float, 2> output);
void Rope(ThreadPool& pool, TensorView<float, 3> heads, absl::Span<const int32_t> positions,
          const RopeTable& table);
void RouterQuery(ThreadPool& pool, const RouterQueryArgs& args);
absl::StatusOr<int32_t> SampleToken(const SampleArgs& args);
void ScoreChunks(ThreadPool& pool, const ScoreChunksArgs& args);
void SiluMul(ThreadPool& pool, TensorView<const float, 2> gate, TensorView<const float, 2> up,
             TensorView<float, 2> output);

}  // namespace msa::kernels::cpu
