#include "kernels/ops/softmax_sums.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/ops/cpu_dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/softmax_sums_cpu.cc"
#include "hwy/foreach_target.h"

// After foreach_target.h.
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msa::kernels::HWY_NAMESPACE {
namespace {

#include "kernels/ops/exp-inl.h"

namespace hn = hwy::HWY_NAMESPACE;
using F32Tag = hn::ScalableTag<float>;
using F32Vector = hn::Vec<F32Tag>;
constexpr size_t kLanes = HWY_LANES(float);
constexpr size_t kTileRows = HWY_CAP_GE512 ? 6 : 3;
constexpr size_t kTileVectors = 4;

struct F32Values {
  using Element = float;
  static HWY_INLINE F32Vector Load(const Element* values) { return hn::LoadU(F32Tag(), values); }
};

struct BF16Values {
  using Element = uint16_t;
  static HWY_INLINE F32Vector Load(const Element* values) {
    const hn::ScalableTag<uint32_t> u32;
    const hn::Rebind<uint16_t, F32Tag> half;
    return hn::BitCast(F32Tag(), hn::ShiftLeft<16>(hn::PromoteTo(u32, hn::LoadU(half, values))));
  }
};

// kVectors vectors of values starting at dimension d for kRows rows, over j in [begin, end): every
// sum is one chain of multiply-adds in the order of j, whatever kRows and kVectors.
template <class Values, size_t kRows, size_t kVectors>
HWY_INLINE void AddValues(const ValueBlock& block, size_t first_row, size_t d, size_t begin,
                          size_t end) {
  using Element = typename Values::Element;
  const F32Tag f32;
  F32Vector sums[kRows][kVectors];
  float* const target = block.sums + first_row * block.sums_stride + d;
#pragma GCC unroll 8
  for (size_t m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (size_t v = 0; v < kVectors; ++v)
      sums[m][v] = hn::Load(f32, target + m * block.sums_stride + v * kLanes);
  }
  const bool partial = d + kVectors * kLanes > block.head_dim;  // only with kVectors == 1
  HWY_ALIGN Element tail[kLanes] = {};
  const float* const weights = block.weights + first_row * kSoftmaxBlock;
  for (size_t j = begin; j < end; ++j) {
    const auto* row = reinterpret_cast<const Element*>(block.values + j * block.stride) + d;
    if (kVectors == 1 && partial) {
      std::memcpy(tail, row, (block.head_dim - d) * sizeof(Element));
      row = tail;
    }
    F32Vector values[kVectors];
#pragma GCC unroll 8
    for (size_t v = 0; v < kVectors; ++v) values[v] = Values::Load(row + v * kLanes);
#pragma GCC unroll 8
    for (size_t m = 0; m < kRows; ++m) {
      const F32Vector weight = hn::Set(f32, weights[m * kSoftmaxBlock + j]);
#pragma GCC unroll 8
      for (size_t v = 0; v < kVectors; ++v) sums[m][v] = hn::MulAdd(weight, values[v], sums[m][v]);
    }
  }
#pragma GCC unroll 8
  for (size_t m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (size_t v = 0; v < kVectors; ++v)
      hn::Store(sums[m][v], f32, target + m * block.sums_stride + v * kLanes);
  }
}

template <class Values, size_t kRows>
HWY_NOINLINE void AddValuesOfRows(const ValueBlock& block, size_t row, size_t begin, size_t end) {
  if (begin >= end) return;
  size_t d = 0;
  for (; d + kTileVectors * kLanes <= block.head_dim; d += kTileVectors * kLanes) {
    AddValues<Values, kRows, kTileVectors>(block, row, d, begin, end);
  }
  for (; d < block.head_dim; d += kLanes) AddValues<Values, kRows, 1>(block, row, d, begin, end);
}

// Rows together as far as all of them see, then each one alone.
template <class Values>
void AddValuesOfBlock(const ValueBlock& block) {
  size_t row = 0;
  for (; row + kTileRows <= block.num_rows; row += kTileRows) {
    const size_t common = *std::min_element(block.counts + row, block.counts + row + kTileRows);
    AddValuesOfRows<Values, kTileRows>(block, row, 0, common);
    for (size_t m = row; m < row + kTileRows; ++m)
      AddValuesOfRows<Values, 1>(block, m, common, block.counts[m]);
  }
  for (; row + 2 <= block.num_rows; row += 2) {
    const size_t common = std::min(block.counts[row], block.counts[row + 1]);
    AddValuesOfRows<Values, 2>(block, row, 0, common);
    for (size_t m = row; m < row + 2; ++m)
      AddValuesOfRows<Values, 1>(block, m, common, block.counts[m]);
  }
  if (row < block.num_rows) AddValuesOfRows<Values, 1>(block, row, 0, block.counts[row]);
}

void AddValueBlock(const ValueBlock& block) {
  if (block.dtype == DType::kF32) return AddValuesOfBlock<F32Values>(block);
  AddValuesOfBlock<BF16Values>(block);
}

void UpdateSoftmax(float* scores, size_t count, float scale, const SoftmaxRow& row) {
  const F32Tag f32;
  const auto largest = hn::Set(f32, std::numeric_limits<float>::max());
  const auto factor = hn::Set(f32, scale);
  auto block_maximum = hn::Neg(largest);
  for (size_t j = 0; j < count; j += kLanes) {
    // Max and Min return their second argument if one is NaN, so a NaN score stays.
    auto score =
        hn::Min(largest, hn::Max(hn::Neg(largest), hn::Mul(hn::Load(f32, scores + j), factor)));
    score = hn::IfThenElse(hn::FirstN(f32, count - j), score, hn::Neg(largest));
    hn::Store(score, f32, scores + j);
    block_maximum = hn::Max(block_maximum, score);
  }
  const float old_maximum = *row.maximum;
  const float new_maximum = std::max(old_maximum, hn::GetLane(hn::MaxOfLanes(f32, block_maximum)));
  if (new_maximum != old_maximum) {
    const auto shrink = ExpOfNonPositive(hn::Set(f32, old_maximum - new_maximum));
    for (size_t d = 0; d < row.sums_stride; d += kLanes) {
      hn::Store(hn::Mul(hn::Load(f32, row.sums + d), shrink), f32, row.sums + d);
    }
    *row.total *= hn::GetLane(shrink);
    *row.maximum = new_maximum;
  }
  auto block_total = hn::Zero(f32);
  for (size_t j = 0; j < count; j += kLanes) {
    auto weight = ExpOfNonPositive(hn::Sub(hn::Load(f32, scores + j), hn::Set(f32, new_maximum)));
    weight = hn::IfThenElseZero(hn::FirstN(f32, count - j), weight);
    hn::Store(weight, f32, scores + j);
    block_total = hn::Add(block_total, weight);
  }
  *row.total += hn::GetLane(hn::SumOfLanes(f32, block_total));
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels {

void AddValueBlock(const ValueBlock& block) {
  SelectTarget(&N_AVX2::AddValueBlock, &N_AVX3::AddValueBlock)(block);
}

void UpdateSoftmax(float* scores, size_t count, float scale, const SoftmaxRow& row) {
  SelectTarget(&N_AVX2::UpdateSoftmax, &N_AVX3::UpdateSoftmax)(scores, count, scale, row);
}

}  // namespace msa::kernels
#endif
