// The tile of dot_product.h for one target. A fragment: included inside the namespace and the
// attributes of a target, once per target, after <cstring>, <algorithm>, hwy/cache_control.h,
// hwy/highway.h, kernels/core/aligned_buffer.h and kernels/ops/dot_product.h. No include guard.

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

// sum + x * w, fused, by the form of the instruction that adds to its operand. Left to itself the
// compiler copies sums between registers and loads x from memory at each use, which takes the units
// and ports that the multiply-adds need.
HWY_INLINE F32Vector MultiplyAdd(F32Vector x, F32Vector w, F32Vector sum) {
#if HWY_CAP_GE512
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum.raw) : "v"(x.raw), "v"(w.raw));
#else
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum.raw) : "x"(x.raw), "x"(w.raw));
#endif
  return sum;
}

// A format says how rows are prepared and how one step is multiplied. Element types are raw bits. A
// tile has at most kMostTileRows rows; its sums, one stored vector per column and one row vector
// fit in the registers.
//
// Prepared rows lie in the order in which a tile reads them: tile by tile, within a tile step by
// step, within a step row by row, kStep elements each. Prepare writes one row of that, its steps
// `step_stride` elements apart.

constexpr size_t kMostTileRows = 6;

// Stored rows that a tile multiplies at a time: as many sums as fit, to hide the multiply-add's
// latency.
constexpr size_t TileColumns(size_t rows) {
  if (HWY_CAP_GE512) return rows <= 2 ? 8 : 4;
  return rows == 1 ? 8 : rows == 2 ? 4 : 2;
}

// A row's tile among `num_rows` rows, which are cut into as few tiles as can be, of similar height.
struct RowTile {
  size_t begin;
  size_t num_rows;
};
inline size_t NumRowTiles(size_t num_rows) {
  return (num_rows + kMostTileRows - 1) / kMostTileRows;
}
inline RowTile RowTileAt(size_t num_rows, size_t tile) {
  const size_t num_tiles = NumRowTiles(num_rows);
  const size_t begin = tile * num_rows / num_tiles;
  return {begin, (tile + 1) * num_rows / num_tiles - begin};
}
inline RowTile RowTileOf(size_t num_rows, size_t row) {
  const size_t num_tiles = NumRowTiles(num_rows);
  return RowTileAt(num_rows, ((row + 1) * num_tiles - 1) / num_rows);
}

// f32 rows, f32 stored.
struct F32Format {
  using Row = float;
  using Stored = float;
  static constexpr size_t kStep = kLanes;
  static constexpr size_t kFetchBytes = sizeof(float);  // of an element, where it is fetched from

  static void Prepare(const float* row, size_t k, bool round, Row* prepared, size_t step_stride) {
    const F32Tag f32;
    for (size_t i = 0; i < k; i += kStep, prepared += step_stride) {
      HWY_ALIGN float tail[kStep] = {};
      if (k - i < kStep) std::memcpy(tail, row + i, (k - i) * sizeof(float));
      const F32Vector value = hn::LoadU(f32, k - i < kStep ? tail : row + i);
      hn::Store(round ? RoundedToBF16(value) : value, f32, prepared);
    }
  }

  template <size_t kRows, size_t kColumns>
  static HWY_INLINE void Step(const Row* rows, const Stored* const* stored, size_t i,
                              F32Vector (&sums)[kRows][kColumns]) {
    const F32Tag f32;
    F32Vector w[kColumns];
#pragma GCC unroll 16
    for (size_t n = 0; n < kColumns; ++n) w[n] = hn::LoadU(f32, stored[n] + i);
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
      const F32Vector x = hn::Load(f32, rows + m * kStep);
#pragma GCC unroll 16
      for (size_t n = 0; n < kColumns; ++n) sums[m][n] = MultiplyAdd(x, w[n], sums[m][n]);
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
  static constexpr size_t kFetchBytes = sizeof(uint16_t);

  static void Prepare(const float* row, size_t k, bool round, Row* prepared, size_t step_stride) {
    const F32Tag f32;
    for (size_t i = 0; i < k; i += kStep, prepared += step_stride) {
      HWY_ALIGN float tail[kStep] = {};
      if (k - i < kStep) std::memcpy(tail, row + i, (k - i) * sizeof(float));
      F32Vector even;
      F32Vector odd;
      hn::LoadInterleaved2(f32, k - i < kStep ? tail : row + i, even, odd);
      hn::Store(round ? RoundedToBF16(even) : even, f32, prepared);
      hn::Store(round ? RoundedToBF16(odd) : odd, f32, prepared + kLanes);
    }
  }

  template <size_t kRows, size_t kColumns>
  static HWY_INLINE void Step(const Row* rows, const Stored* const* stored, size_t i,
                              F32Vector (&sums)[kRows][kColumns]) {
    const F32Tag f32;
    const U32Tag u32;
    F32Vector w[kColumns];
#pragma GCC unroll 16
    for (size_t n = 0; n < kColumns; ++n) {
      const U32Vector pairs = hn::BitCast(u32, hn::LoadU(U16Tag(), stored[n] + i));
      w[n] = hn::BitCast(f32, hn::ShiftLeft<16>(pairs));
    }
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
      const F32Vector x = hn::Load(f32, rows + m * kStep);
#pragma GCC unroll 16
      for (size_t n = 0; n < kColumns; ++n) sums[m][n] = MultiplyAdd(x, w[n], sums[m][n]);
    }
#pragma GCC unroll 16
    for (size_t n = 0; n < kColumns; ++n) {
      const U32Vector pairs = hn::BitCast(u32, hn::LoadU(U16Tag(), stored[n] + i));
      w[n] = hn::BitCast(f32, hn::And(pairs, hn::Set(u32, 0xffff0000)));
    }
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
      const F32Vector x = hn::Load(f32, rows + m * kStep + kLanes);
#pragma GCC unroll 16
      for (size_t n = 0; n < kColumns; ++n) sums[m][n] = MultiplyAdd(x, w[n], sums[m][n]);
    }
  }
};

// WidenFormat's stored rows, widened: the even elements of a step, then its odd ones. The same sums
// in the same order.
struct WidenedFormat {
  using Row = float;
  using Stored = float;
  static constexpr size_t kStep = WidenFormat::kStep;
  static constexpr size_t kFetchBytes = WidenFormat::kFetchBytes;

  // Of k elements, with zeros up to the end of the last step.
  static void Widen(const uint16_t* stored, size_t k, float* widened) {
    const F32Tag f32;
    const U32Tag u32;
    for (size_t i = 0; i < k; i += kStep, widened += kStep) {
      HWY_ALIGN uint16_t tail[kStep] = {};
      if (k - i < kStep) std::memcpy(tail, stored + i, (k - i) * sizeof(uint16_t));
      const U32Vector pairs =
          hn::BitCast(u32, hn::LoadU(U16Tag(), k - i < kStep ? tail : stored + i));
      hn::Store(hn::BitCast(f32, hn::ShiftLeft<16>(pairs)), f32, widened);
      hn::Store(hn::BitCast(f32, hn::And(pairs, hn::Set(u32, 0xffff0000))), f32, widened + kLanes);
    }
  }

  template <size_t kRows, size_t kColumns>
  static HWY_INLINE void Step(const Row* rows, const Stored* const* stored, size_t i,
                              F32Vector (&sums)[kRows][kColumns]) {
    const F32Tag f32;
    F32Vector w[kColumns];
    for (size_t half = 0; half < kStep; half += kLanes) {
#pragma GCC unroll 16
      for (size_t n = 0; n < kColumns; ++n) w[n] = hn::Load(f32, stored[n] + i + half);
#pragma GCC unroll 16
      for (size_t m = 0; m < kRows; ++m) {
        const F32Vector x = hn::Load(f32, rows + m * kStep + half);
#pragma GCC unroll 16
        for (size_t n = 0; n < kColumns; ++n) sums[m][n] = MultiplyAdd(x, w[n], sums[m][n]);
      }
    }
  }
};

template <class Format>
size_t PaddedLength(size_t k) {
  return (k + Format::kStep - 1) / Format::kStep * Format::kStep;
}

template <class Format>
size_t PreparedBytes(size_t num_rows, size_t k) {
  return (num_rows * PaddedLength<Format>(k) * sizeof(typename Format::Row) + 63) / 64 * 64;
}

template <class Format>
void PrepareRow(const float* row, size_t k, bool round, size_t index, size_t num_rows,
                std::byte* prepared) {
  const RowTile tile = RowTileOf(num_rows, index);
  auto* const rows = reinterpret_cast<typename Format::Row*>(prepared);
  Format::Prepare(
      row, k, round,
      rows + tile.begin * PaddedLength<Format>(k) + (index - tile.begin) * Format::kStep,
      tile.num_rows * Format::kStep);
}

// The memory `distance` bytes behind an address. It may lie behind the array, which a prefetch does
// not mind.
HWY_INLINE const std::byte* Behind(const std::byte* address, size_t distance) {
  return reinterpret_cast<const std::byte*>(reinterpret_cast<uintptr_t>(address) + distance);
}

// What a tile asks the memory for while it multiplies: of every num_turns-th of its stored rows,
// from `turn` on, what lies at `rows` for it.
struct Prefetch {
  const std::byte* rows;  // for the first stored row
  size_t stride;
  size_t turn;
  size_t num_turns;
};

// sums[m][n] += products of the next k elements of kRows prepared rows and kColumns stored rows.
// fetch[n]: what is asked for while stored[n] is read; the same again where nothing is.
template <class Format, size_t kRows, size_t kColumns>
HWY_INLINE void AddProducts(const typename Format::Row* rows,
                            const typename Format::Stored* const* stored,
                            const std::byte* const* fetch, size_t k,
                            F32Vector (&sums)[kRows][kColumns]) {
  using Stored = typename Format::Stored;
  size_t i = 0;
  for (; i + Format::kStep <= k; i += Format::kStep, rows += kRows * Format::kStep) {
#pragma GCC unroll 16
    for (size_t n = 0; n < kColumns; ++n) hwy::Prefetch(fetch[n] + i * Format::kFetchBytes);
    Format::template Step<kRows, kColumns>(rows, stored, i, sums);
  }
  if (i < k) {
    HWY_ALIGN Stored tail[kColumns][Format::kStep] = {};
    const Stored* tails[kColumns];
    for (size_t n = 0; n < kColumns; ++n) {
      std::memcpy(tail[n], stored[n] + i, (k - i) * sizeof(Stored));
      tails[n] = tail[n];
    }
    Format::template Step<kRows, kColumns>(rows, tails, 0, sums);
  }
}

// out[n] (+)= products[n] for n < count, of as many as D has lanes.
template <class D>
HWY_INLINE void Write(D lanes, hn::Vec<D> products, bool add, size_t count, float* out) {
  if (count >= hn::Lanes(lanes)) {
    hn::StoreU(add ? hn::Add(hn::LoadU(lanes, out), products) : products, lanes, out);
    return;
  }
  HWY_ALIGN float values[4];
  hn::Store(products, lanes, values);
  for (size_t n = 0; n < count; ++n) out[n] = add ? out[n] + values[n] : values[n];
}

// Adds up the lanes of a tile's sums and writes the products of its first `columns` columns.
template <size_t kRows, size_t kColumns>
HWY_INLINE void WriteProducts(const DotBlock& block, size_t columns, float* out,
                              const F32Vector (&sums)[kRows][kColumns]) {
  if constexpr (kColumns == 2) {
    const hn::Full64<float> two;
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; m += 2) {
      const size_t next = std::min(m + 1, kRows - 1);
      const auto products = SumLanesOfFour(sums[m][0], sums[m][1], sums[next][0], sums[next][1]);
      float* const target = out + m * block.out_stride;
      Write(two, hn::LowerHalf(two, products), block.add, columns, target);
      if (next > m) {
        Write(two, hn::UpperHalf(two, products), block.add, columns, target + block.out_stride);
      }
    }
  } else {
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
#pragma GCC unroll 2
      for (size_t n = 0; n < kColumns; n += 4) {
        if (n >= columns) break;
        Write(hn::Full128<float>(),
              SumLanesOfFour(sums[m][n], sums[m][n + 1], sums[m][n + 2], sums[m][n + 3]), block.add,
              columns - n, out + m * block.out_stride + n);
      }
    }
  }
}

// A tile's prepared rows stay in the first-level cache (32 KiB or more) beside the stored rows.
constexpr size_t kRowBytesInCache = 24 * 1024;

// One tile of rows with stored rows [begin, end) of the block. Rows that do not fit the first-level
// cache are multiplied a part of K at a time; the sums wait in memory meanwhile. A row alone is
// not: it is limited by the stored rows, which it reads once.
template <class Format, size_t kRows>
HWY_NOINLINE void MultiplyTileOf(const DotBlock& block, size_t first_row, size_t begin, size_t end,
                                 const Prefetch& prefetch) {
  using Row = typename Format::Row;
  using Stored = typename Format::Stored;
  constexpr size_t kColumns = TileColumns(kRows);
  constexpr size_t kSums = kRows * kColumns * kLanes;
  constexpr size_t kMostPerPart =
      kRows == 1 ? SIZE_MAX / 2
                 : kRowBytesInCache / sizeof(Row) / kRows / Format::kStep * Format::kStep;
  static thread_local AlignedBuffer waiting_buffer;
  const F32Tag f32;
  const size_t padded = PaddedLength<Format>(block.k);
  const auto* const rows = reinterpret_cast<const Row*>(block.prepared) + first_row * padded;
  float* const out = block.out + first_row * block.out_stride;
  const size_t num_parts = (block.k + kMostPerPart - 1) / kMostPerPart;
  const size_t part = PaddedLength<Format>((block.k + num_parts - 1) / num_parts);
  float* const waiting =
      num_parts == 1 ? nullptr
                     : waiting_buffer.Get<float>((end - begin + kColumns - 1) / kColumns * kSums);
  for (size_t k0 = 0; k0 < block.k; k0 += part) {
    const size_t k = std::min(part, block.k - k0);
    float* kept = waiting;
    for (size_t n0 = begin; n0 < end; n0 += kColumns, kept += num_parts == 1 ? 0 : kSums) {
      const Stored* stored[kColumns];
      const std::byte* fetch[kColumns];
      for (size_t n = 0; n < kColumns; ++n) {
        // A last, partial group multiplies its last row again; nobody reads that result.
        const size_t index = std::min(n0 + n, end - 1);
        stored[n] =
            reinterpret_cast<const Stored*>(block.stored + index * block.stored_stride) + k0;
        const bool in_turn = (n0 + n) % prefetch.num_turns == prefetch.turn;
        fetch[n] = in_turn ? Behind(prefetch.rows,
                                    (index - begin) * prefetch.stride + k0 * Format::kFetchBytes)
                           : reinterpret_cast<const std::byte*>(stored[n]);
      }
      F32Vector sums[kRows][kColumns];
#pragma GCC unroll 16
      for (size_t m = 0; m < kRows; ++m) {
#pragma GCC unroll 16
        for (size_t n = 0; n < kColumns; ++n) sums[m][n] = hn::Zero(f32);
      }
      if (k0 > 0) {
#pragma GCC unroll 16
        for (size_t m = 0; m < kRows; ++m) {
#pragma GCC unroll 16
          for (size_t n = 0; n < kColumns; ++n)
            sums[m][n] = hn::Load(f32, kept + (m * kColumns + n) * kLanes);
        }
      }
      AddProducts<Format, kRows, kColumns>(rows + k0 * kRows, stored, fetch, k, sums);
      if (k0 + k == block.k) {
        WriteProducts<kRows, kColumns>(block, std::min(kColumns, end - n0), out + n0, sums);
      } else {
#pragma GCC unroll 16
        for (size_t m = 0; m < kRows; ++m) {
#pragma GCC unroll 16
          for (size_t n = 0; n < kColumns; ++n)
            hn::Store(sums[m][n], f32, kept + (m * kColumns + n) * kLanes);
        }
      }
    }
  }
}

template <class Format, size_t kRows = kMostTileRows>
HWY_INLINE void MultiplyTile(const DotBlock& block, const RowTile& tile, size_t begin, size_t end,
                             const Prefetch& prefetch) {
  if constexpr (kRows > 1) {
    if (tile.num_rows < kRows)
      return MultiplyTile<Format, kRows - 1>(block, tile, begin, end, prefetch);
  }
  MultiplyTileOf<Format, kRows>(block, tile.begin, begin, end, prefetch);
}

// Where that many tiles multiply the same bf16 rows, these are widened once before. Fewer do not
// earn back what writing and reading the widened rows takes (8 tiles: a tenth slower with it).
constexpr size_t kLeastTilesToWiden = 16;

// All tiles of rows with one group of stored rows, which begins at row `begin` of the block.
template <class Format>
void MultiplyGroup(const DotBlock& block, size_t begin, size_t end, Prefetch prefetch) {
  prefetch.num_turns = NumRowTiles(block.num_rows);
  for (size_t tile = 0; tile < prefetch.num_turns; ++tile) {
    prefetch.turn = tile;
    MultiplyTile<Format>(block, RowTileAt(block.num_rows, tile), begin, end, prefetch);
  }
}

// The same with rows that are widened first.
inline void MultiplyWidened(const DotBlock& block, size_t begin, size_t end, Prefetch prefetch) {
  static thread_local AlignedBuffer widened_buffer;
  const size_t padded = PaddedLength<WidenedFormat>(block.k);
  auto* const widened = widened_buffer.Get<float>((end - begin) * padded);
  for (size_t n = begin; n < end; ++n) {
    WidenedFormat::Widen(reinterpret_cast<const uint16_t*>(block.stored + n * block.stored_stride),
                         block.k, widened + (n - begin) * padded);
  }
  DotBlock group = block;
  group.stored = reinterpret_cast<const std::byte*>(widened);
  group.stored_stride = padded * sizeof(float);
  group.k = padded;
  group.out += begin;
  MultiplyGroup<WidenedFormat>(group, 0, end - begin, prefetch);
}

// Stored rows are multiplied a group at a time by all tiles of rows, so that they are read from
// memory once. While one group is multiplied the next one is fetched; the tiles share that, so that
// memory delivers at a pace that all of them share.
template <class Format>
void Multiply(const DotBlock& block) {
  // Of the second-level cache: 512 KiB or more. Widened rows may take more of it, as tiles go over
  // them many times: fewer rows would mean that the tiles' own rows come from further away.
  constexpr size_t kGroupBytes = 256 * 1024;
  constexpr size_t kWidenedGroupBytes = 512 * 1024;
  constexpr size_t kMostGroup = 64;
  constexpr size_t kLeastGroup = 8;
  const size_t num_tiles = NumRowTiles(block.num_rows);
  const bool widen = std::is_same_v<Format, WidenFormat> && num_tiles >= kLeastTilesToWiden;
  const size_t row_bytes = widen ? block.k * sizeof(float) : block.stored_stride;
  const size_t fits =
      (widen ? kWidenedGroupBytes : kGroupBytes) / row_bytes / kLeastGroup * kLeastGroup;
  const size_t group = num_tiles == 1 ? kLeastGroup : std::clamp(fits, kLeastGroup, kMostGroup);
  // Of a group larger than that the same rows further on are fetched.
  const size_t ahead = fits < kLeastGroup && !widen ? 2048 : group * block.stored_stride;
  for (size_t begin = 0; begin < block.num_stored; begin += group) {
    const size_t end = std::min(begin + group, block.num_stored);
    const Prefetch next = {Behind(block.stored, begin * block.stored_stride + ahead),
                           block.stored_stride, 0, 1};
    if (widen) {
      MultiplyWidened(block, begin, end, next);
    } else {
      MultiplyGroup<Format>(block, begin, end, next);
    }
  }
}

template <class Format>
DotKernel KernelOf(bool round_to_bf16) {
  return {&PreparedBytes<Format>, &PrepareRow<Format>, &Multiply<Format>, round_to_bf16, 8};
}
