#include <algorithm>
#include <cstring>

#include "kernels/core/aligned_buffer.h"
#include "kernels/ops/cpu_dispatch.h"
#include "kernels/ops/dot_product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/dot_product_cpu.cc"
#include "hwy/foreach_target.h"

// After foreach_target.h.
#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msa::kernels::HWY_NAMESPACE {
namespace {

#include "kernels/ops/dot_tile-inl.h"

#if !HWY_CAP_GE512
void WidenRow(const uint16_t* stored, size_t k, float* widened) {
  const F32Tag f32;
  const U32Tag u32;
  for (size_t i = 0; i < k; i += WidenFormat::kStep) {
    HWY_ALIGN uint16_t tail[WidenFormat::kStep] = {};
    const bool whole = k - i >= WidenFormat::kStep;
    if (!whole) std::memcpy(tail, stored + i, (k - i) * sizeof(uint16_t));
    const U32Vector pairs = hn::BitCast(u32, hn::LoadU(U16Tag(), whole ? stored + i : tail));
    hn::Store(hn::BitCast(f32, hn::ShiftLeft<16>(pairs)), f32, widened + i);
    hn::Store(hn::BitCast(f32, hn::And(pairs, hn::Set(u32, 0xffff0000))), f32,
              widened + i + kLanes);
  }
}

// WidenFormat for any number of rows. With 16 registers, many rows do better with a small panel
// that is widened once into the first-level cache than with widening in the registers again and
// again: the same multiply-adds in the same order.
void MultiplyWidening(const DotBlock& block) {
  constexpr size_t kRowsWorthAPanel = 24;
  constexpr size_t kPanelBytes = 16 * 1024;
  constexpr size_t kMostColumns = 32;
  if (block.num_rows < kRowsWorthAPanel) return Multiply<WidenFormat>(block);
  static thread_local AlignedBuffer panel_buffer;
  const size_t padded =
      (block.k + WidenFormat::kStep - 1) / WidenFormat::kStep * WidenFormat::kStep;
  // One cache line of distance, as between prepared rows.
  const size_t stride = padded + 64 / sizeof(float);
  const size_t columns =
      std::clamp<size_t>(kPanelBytes / (stride * sizeof(float)) / 4 * 4, 4, kMostColumns);
  float* const panel = panel_buffer.Get<float>(columns * stride);
  for (size_t first = 0; first < block.num_stored; first += columns) {
    DotBlock part = block;
    part.num_stored = std::min(columns, block.num_stored - first);
    for (size_t n = 0; n < part.num_stored; ++n) {
      const std::byte* const source = block.stored + (first + n) * block.stored_stride;
      WidenRow(reinterpret_cast<const uint16_t*>(source), block.k, panel + n * stride);
    }
    part.stored = reinterpret_cast<const std::byte*>(panel);
    part.stored_stride = stride * sizeof(float);
    part.k = padded;
    part.out = block.out + first;
    MultiplyColumns<F32Format>(part, 0, part.num_stored, 0, false);
  }
}
#endif

DotKernel SelectDotKernel(DType stored, bool round_to_bf16) {
  if (stored == DType::kF32) return KernelOf<F32Format>(round_to_bf16);
  DotKernel kernel = KernelOf<WidenFormat>(round_to_bf16);
#if !HWY_CAP_GE512
  kernel.multiply = &MultiplyWidening;
#endif
  return kernel;
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels {

DotKernel SelectDotKernel(DType stored, ComputeDType compute) {
  const bool round = compute == ComputeDType::kBF16;
  if (stored == DType::kBF16 && round && ActiveCpuLevel() == CpuLevel::kAvx512Bf16) {
    return avx512_bf16::Bf16PairsKernel();
  }
  return SelectTarget(&N_AVX2::SelectDotKernel, &N_AVX3::SelectDotKernel)(stored, round);
}

}  // namespace msa::kernels
#endif
