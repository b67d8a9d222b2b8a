#include "kernels/ops/cpu_dispatch.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/row_ranges.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/rope_cpu.cc"
#include "hwy/foreach_target.h"

// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msa::kernels::HWY_NAMESPACE {
namespace {

// Rotates one head of 2 * half values in place.
void RotateHead(float* head, const float* cosines, const float* sines, size_t half) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> f32;
  const size_t lanes = hn::Lanes(f32);
  float* const first = head;
  float* const second = head + half;
  size_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const auto x = hn::LoadU(f32, first + i);
    const auto y = hn::LoadU(f32, second + i);
    const auto cosine = hn::LoadU(f32, cosines + i);
    const auto sine = hn::LoadU(f32, sines + i);
    hn::StoreU(hn::Sub(hn::Mul(x, cosine), hn::Mul(y, sine)), f32, first + i);
    hn::StoreU(hn::Add(hn::Mul(y, cosine), hn::Mul(x, sine)), f32, second + i);
  }
  for (; i < half; ++i) {
    const float x = first[i];
    const float y = second[i];
    first[i] = x * cosines[i] - y * sines[i];
    second[i] = y * cosines[i] + x * sines[i];
  }
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels::cpu {

void Rope(ThreadPool& pool, TensorView<float, 3> heads, absl::Span<const int32_t> positions,
          const RopeTable& table) {
  const auto rotate = SelectTarget(&N_AVX2::RotateHead, &N_AVX3::RotateHead);
  const auto [num_rows, num_heads, head_dim] = heads.shape;
  const auto half = static_cast<size_t>(head_dim / 2);
  const int64_t row_size = num_heads * head_dim;
  ParallelForRows(pool, num_rows, row_size, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* const cosines = table.row(positions[static_cast<size_t>(t)]);
      for (float* head = heads.data + t * row_size; head != heads.data + (t + 1) * row_size;
           head += 2 * half) {
        rotate(head, cosines, cosines + half, half);
      }
    }
  });
}

}  // namespace msa::kernels::cpu
#endif
