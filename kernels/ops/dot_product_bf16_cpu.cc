// The avx512-bf16 level. Highway 1.0.3 has no target with vdpbf16ps, so its AVX-512 target is
// compiled here with that instruction added, in a namespace of its own.
#undef HWY_BASELINE_TARGETS
#undef HWY_DISABLED_TARGETS
#define HWY_BASELINE_TARGETS HWY_AVX3
#define HWY_COMPILE_ONLY_STATIC

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/core/aligned_buffer.h"
#include "kernels/ops/dot_product.h"

HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512bf16")
namespace msa::kernels::avx512_bf16 {
namespace {

#include "kernels/ops/dot_tile-inl.h"

// bf16 rows, bf16 stored: a lane adds the products of a pair, the odd element's first (as the
// instruction does; it flushes subnormal inputs and results to zero).
struct Bf16PairsFormat {
  using Row = uint16_t;
  using Stored = uint16_t;
  static constexpr size_t kStep = 2 * kLanes;
  static constexpr size_t kFetchBytes = sizeof(uint16_t);

  static void Prepare(const float* row, size_t k, bool /*round: always*/, Row* prepared,
                      size_t step_stride) {
    const F32Tag f32;
    const hn::Rebind<uint16_t, F32Tag> half;
    const hn::ScalableTag<int32_t> i32;
    for (size_t i = 0; i < (k + kStep - 1) / kStep * kStep; i += kLanes) {
      HWY_ALIGN float tail[kLanes] = {};
      const size_t count = i < k ? std::min(k - i, kLanes) : 0;
      if (count < kLanes) std::memcpy(tail, row + (count == 0 ? 0 : i), count * sizeof(float));
      const F32Vector value = RoundedToBF16(hn::LoadU(f32, count < kLanes ? tail : row + i));
      const auto bits = hn::BitCast(i32, hn::ShiftRight<16>(hn::BitCast(U32Tag(), value)));
      hn::StoreU(hn::DemoteTo(half, bits), half, prepared + i / kStep * step_stride + i % kStep);
    }
  }

  static HWY_INLINE __m512bh LoadPairs(const uint16_t* values) {
    return (__m512bh)_mm512_loadu_si512(values);
  }

  template <size_t kRows, size_t kColumns>
  static HWY_INLINE void Step(const Row* rows, const Stored* const* stored, size_t i,
                              F32Vector (&sums)[kRows][kColumns]) {
    __m512bh w[kColumns];
#pragma GCC unroll 16
    for (size_t n = 0; n < kColumns; ++n) w[n] = LoadPairs(stored[n] + i);
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
      const __m512bh x = LoadPairs(rows + m * kStep);
#pragma GCC unroll 16
      for (size_t n = 0; n < kColumns; ++n)
        sums[m][n].raw = _mm512_dpbf16_ps(sums[m][n].raw, x, w[n]);
    }
  }
};

}  // namespace

DotKernel Bf16PairsKernel() { return KernelOf<Bf16PairsFormat>(true); }

}  // namespace msa::kernels::avx512_bf16
HWY_POP_ATTRIBUTES
