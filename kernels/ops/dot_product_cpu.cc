#include <algorithm>
#include <cstring>
#include <type_traits>

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

DotKernel SelectDotKernel(DType stored, bool round_to_bf16) {
  if (stored == DType::kF32) return KernelOf<F32Format>(round_to_bf16);
  return KernelOf<WidenFormat>(round_to_bf16);
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels {

DotKernel SelectDotKernel(DType stored, ComputeDType compute) {
  const bool round = compute == ComputeDType::kBF16;
  if (stored == DType::kBF16 && round) {
    if (ActiveCpuLevel() == CpuLevel::kAmx) return amx::Bf16TilesKernel();
    if (ActiveCpuLevel() == CpuLevel::kAvx512Bf16) return avx512_bf16::Bf16PairsKernel();
  }
  return SelectTarget(&N_AVX2::SelectDotKernel, &N_AVX3::SelectDotKernel)(stored, round);
}

}  // namespace msa::kernels
#endif
