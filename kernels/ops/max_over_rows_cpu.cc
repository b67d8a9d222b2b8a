#include "kernels/ops/max_over_rows.h"

#include <algorithm>
#include <limits>

#include "kernels/ops/cpu_dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/max_over_rows_cpu.cc"
#include "hwy/foreach_target.h"

// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msa::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using F32Tag = hn::ScalableTag<float>;

// Of kVectors vectors of columns, side by side in the registers.
template <size_t kVectors>
void MaxOfColumns(const float* rows, size_t num_rows, size_t stride, float* out) {
  const F32Tag f32;
  hn::Vec<F32Tag> best[kVectors];
  for (auto& lanes : best) lanes = hn::Set(f32, -std::numeric_limits<float>::infinity());
  for (size_t t = 0; t < num_rows; ++t, rows += stride) {
    for (size_t v = 0; v < kVectors; ++v) {
      const auto value = hn::LoadU(f32, rows + v * hn::Lanes(f32));
      best[v] = hn::IfThenElse(hn::Gt(value, best[v]), value, best[v]);
    }
  }
  for (size_t v = 0; v < kVectors; ++v) hn::StoreU(best[v], f32, out + v * hn::Lanes(f32));
}

void MaxOverRows(const float* rows, size_t num_rows, size_t stride, size_t count, float* out) {
  constexpr size_t kLanes = HWY_LANES(float), kVectors = 4;
  size_t j = 0;
  for (; j + kVectors * kLanes <= count; j += kVectors * kLanes)
    MaxOfColumns<kVectors>(rows + j, num_rows, stride, out + j);
  for (; j + kLanes <= count; j += kLanes) MaxOfColumns<1>(rows + j, num_rows, stride, out + j);
  for (; j < count; ++j) {
    float best = -std::numeric_limits<float>::infinity();
    for (size_t t = 0; t < num_rows; ++t) {
      const float value = rows[t * stride + j];
      best = value > best ? value : best;
    }
    out[j] = best;
  }
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels {

void MaxOverRows(const float* rows, size_t num_rows, size_t stride, size_t count, float* out) {
  SelectTarget(&N_AVX2::MaxOverRows, &N_AVX3::MaxOverRows)(rows, num_rows, stride, count, out);
}

}  // namespace msa::kernels
#endif
