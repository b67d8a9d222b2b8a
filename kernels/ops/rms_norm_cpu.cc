#include <cmath>

#include "kernels/ops/cpu_dispatch.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/row_ranges.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/rms_norm_cpu.cc"
#include "hwy/foreach_target.h"

// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msa::kernels::HWY_NAMESPACE {
namespace {

#include "kernels/ops/sum_of_squares-inl.h"

void RmsNormRow(const float* input, const float* weight, size_t count, float epsilon,
                float* output) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> f32;
  const size_t lanes = hn::Lanes(f32);
  const float factor =
      1.0f / std::sqrt(SumOfSquares(input, count) / static_cast<float>(count) + epsilon);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto scaled = hn::Mul(hn::LoadU(f32, input + i), hn::Set(f32, factor));
    hn::StoreU(hn::Mul(scaled, hn::LoadU(f32, weight + i)), f32, output + i);
  }
  for (; i < count; ++i) output[i] = input[i] * factor * weight[i];
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels::cpu {

void RmsNorm(ThreadPool& pool, TensorView<const float, 2> input, TensorView<const float, 1> weight,
             float epsilon, TensorView<float, 2> output) {
  const auto normalize = SelectTarget(&N_AVX2::RmsNormRow, &N_AVX3::RmsNormRow);
  const int64_t columns = input.shape[1];
  ParallelForRows(pool, input.shape[0], columns, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      normalize(input.data + t * columns, weight.data, static_cast<size_t>(columns), epsilon,
                output.data + t * columns);
    }
  });
}

}  // namespace msa::kernels::cpu
#endif
