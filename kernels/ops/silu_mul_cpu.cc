#include <algorithm>

#include "kernels/ops/cpu_dispatch.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/row_ranges.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/silu_mul_cpu.cc"
#include "hwy/foreach_target.h"

// After foreach_target.h.
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msa::kernels::HWY_NAMESPACE {
namespace {

#include "kernels/ops/exp-inl.h"

void SiluMulValues(const float* gates, const float* ups, size_t count, float* output) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> f32;
  const size_t lanes = hn::Lanes(f32);
  const auto one = hn::Set(f32, 1.0f);
  for (size_t i = 0; i < count; i += lanes) {
    const auto mask = hn::FirstN(f32, std::min(count - i, lanes));
    const auto gate = hn::MaskedLoad(mask, f32, gates + i);
    const auto up = hn::MaskedLoad(mask, f32, ups + i);
    // exp never sees a positive argument, so that no gate overflows it.
    const auto e = ExpOfNonPositive(hn::Neg(hn::Abs(gate)));
    const auto numerator = hn::IfThenElse(hn::Lt(gate, hn::Zero(f32)), e, one);
    const auto sigmoid = hn::Div(numerator, hn::Add(one, e));
    hn::BlendedStore(hn::Mul(hn::Mul(gate, sigmoid), up), mask, f32, output + i);
  }
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels::cpu {

void SiluMul(ThreadPool& pool, TensorView<const float, 2> gate, TensorView<const float, 2> up,
             TensorView<float, 2> output) {
  const auto compute = SelectTarget(&N_AVX2::SiluMulValues, &N_AVX3::SiluMulValues);
  constexpr int64_t kBlock = 4096;  // cut by values: a single row is shared by threads as well
  const int64_t count = gate.size();
  pool.ParallelFor((count + kBlock - 1) / kBlock, [&](int64_t task) {
    const int64_t begin = task * kBlock;
    compute(gate.data + begin, up.data + begin,
            static_cast<size_t>(std::min(kBlock, count - begin)), output.data + begin);
  });
}

}  // namespace msa::kernels::cpu
#endif
