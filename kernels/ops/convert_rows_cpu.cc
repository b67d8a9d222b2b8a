#include "kernels/ops/convert_rows.h"

#include <cstring>

#include "kernels/core/check.h"
#include "kernels/ops/cpu_dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/convert_rows_cpu.cc"
#include "hwy/foreach_target.h"

// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msa::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

void WidenRow(const uint16_t* source, size_t count, float* target) {
  const hn::ScalableTag<float> f32;
  const hn::ScalableTag<uint32_t> u32;
  const hn::Rebind<uint16_t, decltype(f32)> half;
  const size_t lanes = hn::Lanes(f32);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(u32, hn::LoadU(half, source + i)));
    hn::StoreU(hn::BitCast(f32, bits), f32, target + i);
  }
  for (; i < count; ++i) target[i] = ToF32(BF16{source[i]});
}

void NarrowRow(const float* source, size_t count, uint16_t* target) {
  const hn::ScalableTag<float> f32;
  const hn::ScalableTag<uint32_t> u32;
  const hn::ScalableTag<int32_t> i32;
  const hn::Rebind<uint16_t, decltype(f32)> half;
  const size_t lanes = hn::Lanes(f32);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto value = hn::LoadU(f32, source + i);
    const auto bits = hn::BitCast(u32, value);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u32, 1));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(u32, 0x7fff)));
    const auto quiet = hn::Or(bits, hn::Set(u32, 0x400000));
    const auto chosen = hn::IfThenElse(hn::RebindMask(u32, hn::IsNaN(value)), quiet, rounded);
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(i32, hn::ShiftRight<16>(chosen))), half, target + i);
  }
  for (; i < count; ++i) target[i] = ToBF16(source[i]).bits;
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels {

void ConvertRow(const void* source, DType source_dtype, size_t count, void* target,
                DType target_dtype) {
  MSA_CHECK(source_dtype != DType::kF16 && target_dtype != DType::kF16,
            "f16 is widened when a checkpoint is loaded");
  if (count == 0) return;
  if (source_dtype == target_dtype) {
    std::memcpy(target, source, count * SizeOf(source_dtype));
  } else if (source_dtype == DType::kBF16) {
    SelectTarget(&N_AVX2::WidenRow, &N_AVX3::WidenRow)(static_cast<const uint16_t*>(source), count,
                                                       static_cast<float*>(target));
  } else {
    SelectTarget(&N_AVX2::NarrowRow, &N_AVX3::NarrowRow)(static_cast<const float*>(source), count,
                                                         static_cast<uint16_t*>(target));
  }
}

}  // namespace msa::kernels
#endif
