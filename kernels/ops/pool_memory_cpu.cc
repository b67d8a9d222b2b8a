#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ops/chunk_ranges.h"
#include "kernels/ops/cpu_dispatch.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/row_ranges.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/pool_memory_cpu.cc"
#include "hwy/foreach_target.h"

// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msa::kernels::HWY_NAMESPACE {
namespace {

#include "kernels/ops/sum_of_squares-inl.h"

// output[i] = mean over `num_rows` rows of `width` values, added in the order of the rows.
void MeanOfRows(const float* rows, size_t num_rows, size_t width, float* output) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> f32;
  const size_t lanes = hn::Lanes(f32);
  const auto count = static_cast<float>(num_rows);
  size_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    auto sum = hn::LoadU(f32, rows + i);
    for (size_t row = 1; row < num_rows; ++row)
      sum = hn::Add(sum, hn::LoadU(f32, rows + row * width + i));
    hn::StoreU(hn::Div(sum, hn::Set(f32, count)), f32, output + i);
  }
  for (; i < width; ++i) {
    float sum = rows[i];
    for (size_t row = 1; row < num_rows; ++row) sum += rows[row * width + i];
    output[i] = sum / count;
  }
}

// head /= max(|head|_2, 1e-12).
void NormalizeHead(float* head, size_t head_dim) {
  const float length = std::max(std::sqrt(SumOfSquares(head, head_dim)), 1e-12f);
  for (size_t i = 0; i < head_dim; ++i) head[i] /= length;
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels::cpu {

void PoolMemory(ThreadPool& pool, const PoolMemoryArgs& args, absl::Span<const ChunkRange> chunks) {
  const auto mean = SelectTarget(&N_AVX2::MeanOfRows, &N_AVX3::MeanOfRows);
  const auto normalize = SelectTarget(&N_AVX2::NormalizeHead, &N_AVX3::NormalizeHead);
  const int64_t head_dim = args.rows.shape[2];
  const int64_t width = args.rows.shape[1] * head_dim;
  if (width == 0) return;
  const int64_t typical_rows = std::min(args.tokens_per_chunk, args.rows.shape[0]);
  ParallelForRows(
      pool, args.output.shape[0], typical_rows * width, [&](int64_t begin, int64_t end) {
        for (int64_t index = begin; index < end; ++index) {
          const ChunkRange& chunk = chunks[static_cast<size_t>(index)];
          float* const output = args.output.data + index * width;
          mean(args.rows.data + chunk.begin * width, static_cast<size_t>(chunk.end - chunk.begin),
               static_cast<size_t>(width), output);
          if (!args.normalize) continue;
          for (float* head = output; head != output + width; head += head_dim) {
            normalize(head, static_cast<size_t>(head_dim));
          }
        }
      });
}

}  // namespace msa::kernels::cpu
#endif
