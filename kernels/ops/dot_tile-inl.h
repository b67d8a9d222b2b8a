// The tile of dot_product.h for one target. A fragment: included inside the namespace and the
// attributes of a target, once per target, after <cstring>, <algorithm>, hwy/highway.h and
// kernels/ops/dot_product.h. No include guard.

namespace hn = hwy::HWY_NAMESPACE;

using F32Tag = hn::ScalableTag<float>;
using U32Tag = hn::ScalableTag<uint32_t>;
using U16Tag = hn::ScalableTag<uint16_t>;
using F32Vector = hn::Vec<F32Tag>;
using U32Vector = hn::Vec<U32Tag>;
constexpr size_t kLanes = HWY_LANES(float);

// ToBF16 of dtype.h, 16 zero bits below.
HWY_INLINE F32Vector RoundedToBF16(F32Vector value) {
  const U32Tag u32;
  const U32Vector bits = hn::BitCast(u32, value);
  const U32Vector odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u32, 1));
  const U32Vector rounded = hn::Add(bits, hn::Add(odd, hn::Set(u32, 0x7fff)));
  const U32Vector quiet = hn::Or(bits, hn::Set(u32, 0x400000));
  const auto is_nan = hn::RebindMask(u32, hn::IsNaN(value));
  return hn::BitCast(F32Tag(),
                     hn::And(hn::IfThenElse(is_nan, quiet, rounded), hn::Set(u32, 0xffff0000)));
}

// The sums of the lanes of four vectors. In each 128-bit block (l0 + l2) + (l1 + l3), then the
// upper half of the blocks is added to the lower one until one is left.
HWY_INLINE hn::Vec<hn::Full128<float>> SumLanesOfFour(F32Vector a, F32Vector b, F32Vector c,
                                                      F32Vector d) {
  const F32Tag f32;
  const hn::ScalableTag<double> pairs;
  const auto ab = hn::Add(hn::InterleaveLower(f32, a, b), hn::InterleaveUpper(f32, a, b));
  const auto cd = hn::Add(hn::InterleaveLower(f32, c, d), hn::InterleaveUpper(f32, c, d));
  const auto low = hn::InterleaveLower(pairs, hn::BitCast(pairs, ab), hn::BitCast(pairs, cd));
  const auto high = hn::InterleaveUpper(pairs, hn::BitCast(pairs, ab), hn::BitCast(pairs, cd));
  const auto sums = hn::Add(hn::BitCast(f32, low), hn::BitCast(f32, high));
  const hn::Half<F32Tag> half;
  const auto sums_of_half = hn::Add(hn::LowerHalf(half, sums), hn::UpperHalf(half, sums));
#if HWY_CAP_GE512
  const hn::Full128<float> quarter;
  return hn::Add(hn::LowerHalf(quarter, sums_of_half), hn::UpperHalf(quarter, sums_of_half));
#else
  return sums_of_half;
#endif
}

// A format says how rows are prepared and how one step is multiplied. Element types are raw bits. A
// tile has kTileRows rows and four columns: its sums and one column of operands fit in the
// registers.

// f32 rows, f32 stored.
struct F32Format {
  using Row = float;
  using Stored = float;
  static constexpr size_t kStep = kLanes;
  static constexpr size_t kTileRows = HWY_CAP_GE512 ? 6 : 3;

  static void Prepare(const float* row, size_t k, bool round, Row* prepared) {
    const F32Tag f32;
    for (size_t i = 0; i < k; i += kStep) {
      HWY_ALIGN float tail[kStep] = {};
      if (k - i < kStep) std::memcpy(tail, row + i, (k - i) * sizeof(float));
      const F32Vector value = hn::LoadU(f32, k - i < kStep ? tail : row + i);
      hn::Store(round ? RoundedToBF16(value) : value, f32, prepared + i);
    }
  }

  template <size_t kRows, size_t kColumns>
  static HWY_INLINE void Step(const Row* row, size_t row_stride, const Stored* const* stored,
                              size_t i, F32Vector (&sums)[kRows][kColumns]) {
    const F32Tag f32;
    F32Vector w[kColumns];
#pragma GCC unroll 16
    for (size_t n = 0; n < kColumns; ++n) w[n] = hn::LoadU(f32, stored[n] + i);
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
      const F32Vector x = hn::Load(f32, row + m * row_stride + i);
#pragma GCC unroll 16
      for (size_t n = 0; n < kColumns; ++n) sums[m][n] = hn::MulAdd(x, w[n], sums[m][n]);
    }
  }
};

// f32 rows, bf16 stored: a step reads one vector of bf16 pairs and widens it in the register, even
// elements by a shift and odd ones by a mask. Rows are prepared in that order: the step's even
// elements, then its odd ones.
struct WidenFormat {
  using Row = float;
  using Stored = uint16_t;
  static constexpr size_t kStep = 2 * kLanes;
  static constexpr size_t kTileRows = HWY_CAP_GE512 ? 6 : 2;

  static void Prepare(const float* row, size_t k, bool round, Row* prepared) {
    const F32Tag f32;
    for (size_t i = 0; i < k; i += kStep) {
      HWY_ALIGN float tail[kStep] = {};
      if (k - i < kStep) std::memcpy(tail, row + i, (k - i) * sizeof(float));
      F32Vector even;
      F32Vector odd;
      hn::LoadInterleaved2(f32, k - i < kStep ? tail : row + i, even, odd);
      hn::Store(round ? RoundedToBF16(even) : even, f32, prepared + i);
      hn::Store(round ? RoundedToBF16(odd) : odd, f32, prepared + i + kLanes);
    }
  }

  template <size_t kRows, size_t kColumns>
  static HWY_INLINE void Step(const Row* row, size_t row_stride, const Stored* const* stored,
                              size_t i, F32Vector (&sums)[kRows][kColumns]) {
    const F32Tag f32;
    const U32Tag u32;
    U32Vector pairs[kColumns];
    F32Vector w[kColumns];
#pragma GCC unroll 16
    for (size_t n = 0; n < kColumns; ++n) {
      pairs[n] = hn::BitCast(u32, hn::LoadU(U16Tag(), stored[n] + i));
      w[n] = hn::BitCast(f32, hn::ShiftLeft<16>(pairs[n]));
    }
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
      const F32Vector x = hn::Load(f32, row + m * row_stride + i);
#pragma GCC unroll 16
      for (size_t n = 0; n < kColumns; ++n) sums[m][n] = hn::MulAdd(x, w[n], sums[m][n]);
    }
#pragma GCC unroll 16
    for (size_t n = 0; n < kColumns; ++n) {
      w[n] = hn::BitCast(f32, hn::And(pairs[n], hn::Set(u32, 0xffff0000)));
    }
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
      const F32Vector x = hn::Load(f32, row + m * row_stride + i + kLanes);
#pragma GCC unroll 16
      for (size_t n = 0; n < kColumns; ++n) sums[m][n] = hn::MulAdd(x, w[n], sums[m][n]);
    }
  }
};

// Prepared rows keep one cache line of distance, so that rows of a power of two do not fall on the
// same cache sets.
template <class Format>
size_t PreparedStride(size_t k) {
  const size_t padded = (k + Format::kStep - 1) / Format::kStep * Format::kStep;
  return (padded * sizeof(typename Format::Row) + 63) / 64 * 64 + 64;
}

template <class Format>
void PrepareRow(const float* row, size_t k, bool round, std::byte* prepared) {
  Format::Prepare(row, k, round, reinterpret_cast<typename Format::Row*>(prepared));
}

// Asks for the memory `distance` bytes behind an address. That may lie behind the array, which a
// prefetch does not mind.
HWY_INLINE void PrefetchAt(const void* address, size_t distance) {
  hwy::Prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(address) + distance));
}

// What a tile asks the memory for while it multiplies: columns first, first + step, ... of the
// group `ahead` bytes behind its own. One row alone asks for all of them.
struct Prefetch {
  size_t ahead;
  size_t first;
  size_t step;
};

// sums[m][n] = products of kRows prepared rows with kColumns stored rows.
template <class Format, size_t kRows, size_t kColumns>
HWY_INLINE void MultiplyTile(const typename Format::Row* row, size_t row_stride,
                             const typename Format::Stored* const* stored, size_t k,
                             const Prefetch& prefetch, F32Vector (&sums)[kRows][kColumns]) {
  using Stored = typename Format::Stored;
#pragma GCC unroll 16
  for (size_t m = 0; m < kRows; ++m) {
#pragma GCC unroll 16
    for (size_t n = 0; n < kColumns; ++n) sums[m][n] = hn::Zero(F32Tag());
  }
  size_t i = 0;
  for (; i + Format::kStep <= k; i += Format::kStep) {
    if constexpr (kRows == 1) {
#pragma GCC unroll 16
      for (size_t n = 0; n < kColumns; ++n) PrefetchAt(stored[n] + i, prefetch.ahead);
    } else {
      for (size_t n = prefetch.first; n < kColumns; n += prefetch.step) {
        PrefetchAt(stored[n] + i, prefetch.ahead);
      }
    }
    Format::template Step<kRows, kColumns>(row, row_stride, stored, i, sums);
  }
  if (i < k) {
    HWY_ALIGN Stored tail[kColumns][Format::kStep] = {};
    const Stored* tails[kColumns];
    for (size_t n = 0; n < kColumns; ++n) {
      std::memcpy(tail[n], stored[n] + i, (k - i) * sizeof(Stored));
      tails[n] = tail[n];
    }
    Format::template Step<kRows, kColumns>(row + i, row_stride, tails, 0, sums);
  }
}

// kRows rows starting at first_row with stored rows [begin, end) of the block.
template <class Format, size_t kRows>
HWY_NOINLINE void MultiplyRows(const DotBlock& block, size_t first_row, size_t begin, size_t end,
                               Prefetch prefetch) {
  using Row = typename Format::Row;
  using Stored = typename Format::Stored;
  // One row alone needs more sums to hide the multiply-add's latency.
  constexpr size_t kColumns = kRows == 1 ? 8 : 4;
  const hn::Full128<float> four;
  const auto* row =
      reinterpret_cast<const Row*>(block.prepared + first_row * block.prepared_stride);
  const size_t row_stride = block.prepared_stride / sizeof(Row);
  float* const out = block.out + first_row * block.out_stride;
  for (size_t n0 = begin; n0 < end; n0 += kColumns) {
    const Stored* stored[kColumns];
    for (size_t n = 0; n < kColumns; ++n) {
      // A last, partial group multiplies its last row again; nobody reads that result.
      const size_t index = std::min(n0 + n, end - 1);
      stored[n] = reinterpret_cast<const Stored*>(block.stored + index * block.stored_stride);
    }
    F32Vector sums[kRows][kColumns];
    MultiplyTile<Format, kRows, kColumns>(row, row_stride, stored, block.k, prefetch, sums);
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
#pragma GCC unroll 2
      for (size_t g = 0; g < kColumns; g += 4) {
        if (n0 + g >= end) break;
        float* const target = out + m * block.out_stride + n0 + g;
        const auto products =
            SumLanesOfFour(sums[m][g], sums[m][g + 1], sums[m][g + 2], sums[m][g + 3]);
        const size_t count = std::min<size_t>(4, end - n0 - g);
        if (count == 4) {
          hn::StoreU(block.add ? hn::Add(hn::LoadU(four, target), products) : products, four,
                     target);
        } else {
          HWY_ALIGN float values[4];
          hn::Store(products, four, values);
          for (size_t n = 0; n < count; ++n)
            target[n] = block.add ? target[n] + values[n] : values[n];
        }
      }
    }
  }
}

// All rows of the block with stored rows [begin, end). The tiles share the prefetching if it is for
// the columns of a group that all of them multiply, otherwise the first one does it.
template <class Format>
void MultiplyColumns(const DotBlock& block, size_t begin, size_t end, size_t ahead,
                     bool share_prefetch) {
  constexpr size_t kTileRows = Format::kTileRows;
  constexpr size_t kNone = 8;
  const size_t num_tiles = (block.num_rows + kTileRows - 1) / kTileRows;
  for (size_t tile = 0; tile < num_tiles; ++tile) {
    const size_t row = tile * kTileRows;
    const Prefetch prefetch = share_prefetch ? Prefetch{ahead, tile, num_tiles}
                                             : Prefetch{ahead, tile == 0 ? 0 : kNone, 1};
    switch (std::min(kTileRows, block.num_rows - row)) {
      case 1:
        MultiplyRows<Format, 1>(block, row, begin, end, prefetch);
        break;
      case 2:
        MultiplyRows<Format, 2>(block, row, begin, end, prefetch);
        break;
      case 3:
        if constexpr (kTileRows >= 3) MultiplyRows<Format, 3>(block, row, begin, end, prefetch);
        break;
      case 4:
        if constexpr (kTileRows >= 4) MultiplyRows<Format, 4>(block, row, begin, end, prefetch);
        break;
      case 5:
        if constexpr (kTileRows >= 5) MultiplyRows<Format, 5>(block, row, begin, end, prefetch);
        break;
      case 6:
        if constexpr (kTileRows >= 6) MultiplyRows<Format, 6>(block, row, begin, end, prefetch);
        break;
      default:
        break;
    }
  }
}

template <class Format>
void Multiply(const DotBlock& block) {
  constexpr size_t kGroup = 8;
  constexpr size_t kStoredBytesInCache = 64 * 1024;
  constexpr size_t kPreparedBytesInCache = 256 * 1024;
  // While a group of stored rows is multiplied the next one is fetched, or the same rows further on
  // where a group is larger than a first-level cache.
  const size_t group_bytes = kGroup * block.stored_stride;
  const size_t ahead = group_bytes <= 65536 ? group_bytes : 2048;
  if (block.num_stored * block.stored_stride <= kStoredBytesInCache ||
      block.num_rows * block.prepared_stride > kPreparedBytesInCache) {
    // A tile's rows stay in the first-level cache and the stored rows come from the second.
    return MultiplyColumns<Format>(block, 0, block.num_stored, ahead, false);
  }
  // The other way round: stored rows come from memory, at a pace that all rows share.
  for (size_t begin = 0; begin < block.num_stored; begin += kGroup) {
    MultiplyColumns<Format>(block, begin, std::min(begin + kGroup, block.num_stored), ahead, true);
  }
}

template <class Format>
DotKernel KernelOf(bool round_to_bf16) {
  return {&PreparedStride<Format>, &PrepareRow<Format>, &Multiply<Format>, round_to_bf16};
}
