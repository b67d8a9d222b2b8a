// Products of bf16 rows with bf16 stored rows by AMX tiles, over a class that has the tiles: those
// of the machine (dot_product_amx_cpu.cc), or a model of them in tests. A fragment: included inside
// a namespace and the attributes of a target, after <algorithm>, <cstring>,
// kernels/core/aligned_buffer.h and kernels/ops/dot_product.h. No include guard.
//
// A step multiplies a tile of 16 stored rows, 32 elements each as they lie in memory, with a tile
// of 16 prepared rows, and adds to 16 x 16 sums. A product is one chain of steps along K, whatever
// it is computed together with. Prepared rows lie tile by tile, within a tile step by step, within
// a step pair by pair of elements, two elements of each of the 16 rows:
//   [ceil(num_rows / 16)][ceil(K / 32)][16 pairs][16 rows][2] bf16.
// Rows that fill up the last tile are not written; their sums are read by nobody.
//
// What `Tiles` has; the tiles are 0 to 7, of 16 rows of 64 bytes, and belong to the thread:
//   static void Begin(), End();                    around a block of products
//   template <int T> static void Zero();
//   template <int T> static void Load(const void* first_row, size_t stride);
//   template <int C, int A, int B> static void Dot();   C += A * B, tdpbf16ps
//   template <int C> static void Store(float* sums);    [16][16], a row per row of A
//   static void PreparePairs(const float* row, size_t count, uint32_t* pairs);
//       16 pairs of bf16 of the next `count` <= 32 elements, zeros behind them
//   static void WriteProducts(const float* sums, size_t num_rows, size_t num_stored,
//                             const DotBlock& block, float* out);
//       out[m, n] (+)= sums[n][m] for m < num_rows, n < num_stored
template <class Tiles>
class AmxProducts {
 public:
  static DotKernel Kernel() { return {&PreparedBytes, &PrepareRow, &Multiply, true, 2 * kRows}; }

 private:
  static constexpr size_t kRows = 16;
  static constexpr size_t kStep = 32;
  static constexpr size_t kTileBytes = 1024;

  static size_t NumSteps(size_t k) { return (k + kStep - 1) / kStep; }
  static size_t NumRowTiles(size_t num_rows) { return (num_rows + kRows - 1) / kRows; }

  static size_t PreparedBytes(size_t num_rows, size_t k) {
    return NumRowTiles(num_rows) * NumSteps(k) * kTileBytes;
  }

  static void PrepareRow(const float* row, size_t k, bool /*round: always*/, size_t index,
                         size_t /*num_rows*/, std::byte* prepared) {
    uint32_t pairs[kRows];
    auto* target =
        reinterpret_cast<uint32_t*>(prepared + index / kRows * NumSteps(k) * kTileBytes) +
        index % kRows;
    for (size_t i = 0; i < k; i += kStep) {
      Tiles::PreparePairs(row + i, std::min(kStep, k - i), pairs);
      for (size_t pair = 0; pair < kRows; ++pair, target += kRows) *target = pairs[pair];
    }
  }

  // Up to 16 stored rows. Where they end before a tile or a step does, a copy with zeros is read.
  struct StoredRows {
    const std::byte* rows = nullptr;
    size_t stride = 0;
    const std::byte* last_step = nullptr;  // its 16 rows of 64 bytes; null: it is a whole one
    size_t num_rows = 0;                   // 0: there are none

    template <int T>
    void Load(size_t step, size_t num_steps) const {
      if (last_step != nullptr && step + 1 == num_steps) {
        Tiles::template Load<T>(last_step, kTileBytes / kRows);
      } else {
        Tiles::template Load<T>(rows + step * kStep * sizeof(uint16_t), stride);
      }
    }
  };

  // `copy`: memory for a whole tile and step of them.
  static StoredRows StoredRowsAt(const DotBlock& block, size_t first, std::byte* copy) {
    StoredRows stored;
    if (first >= block.num_stored) return stored;
    const size_t padded = NumSteps(block.k) * kStep * sizeof(uint16_t);
    const size_t row_bytes = block.k * sizeof(uint16_t);
    stored.rows = block.stored + first * block.stored_stride;
    stored.stride = block.stored_stride;
    stored.num_rows = std::min(kRows, block.num_stored - first);
    if (stored.num_rows < kRows) {
      std::memset(copy, 0, kRows * padded);
      for (size_t n = 0; n < stored.num_rows; ++n) {
        std::memcpy(copy + n * padded, stored.rows + n * stored.stride, row_bytes);
      }
      stored.rows = copy;
      stored.stride = padded;
    } else if (row_bytes < padded) {
      const size_t whole = padded - kTileBytes / kRows;
      std::memset(copy, 0, kTileBytes);
      for (size_t n = 0; n < kRows; ++n) {
        std::memcpy(copy + n * (kTileBytes / kRows), stored.rows + n * stored.stride + whole,
                    row_bytes - whole);
      }
      stored.last_step = copy;
    }
    return stored;
  }

  // What to ask the memory for during a step: lines of the next stored rows, spread over the row
  // tiles that multiply the present ones.
  struct Ahead {
    const std::byte* rows;  // null: nothing
    size_t stride;
    size_t turn;
    size_t num_turns;

    void Fetch(size_t step) const {
      if (rows == nullptr) return;
      for (size_t n = turn; n < 2 * kRows; n += num_turns) {
        __builtin_prefetch(rows + n * stride + step * kStep * sizeof(uint16_t), 0, 2);
      }
    }
  };

  // kStoredTiles tiles of stored rows with kRowTiles tiles of prepared rows: tiles 0 to 3 are sums,
  // 4 and 5 stored rows, 6 and 7 prepared ones.
  template <size_t kStoredTiles, size_t kRowTiles>
  static void MultiplyTiles(const DotBlock& block, const StoredRows* stored, size_t first_stored,
                            size_t row_tile, const Ahead& ahead) {
    const size_t num_steps = NumSteps(block.k);
    const std::byte* rows = block.prepared + row_tile * num_steps * kTileBytes;
    const size_t next_tile = num_steps * kTileBytes;
    Tiles::template Zero<0>();
    if constexpr (kRowTiles == 2) Tiles::template Zero<1>();
    if constexpr (kStoredTiles == 2) Tiles::template Zero<2>();
    if constexpr (kStoredTiles == 2 && kRowTiles == 2) Tiles::template Zero<3>();
    for (size_t step = 0; step < num_steps; ++step, rows += kTileBytes) {
      ahead.Fetch(step);
      stored[0].template Load<4>(step, num_steps);
      Tiles::template Load<6>(rows, kTileBytes / kRows);
      Tiles::template Dot<0, 4, 6>();
      if constexpr (kRowTiles == 2) {
        Tiles::template Load<7>(rows + next_tile, kTileBytes / kRows);
        Tiles::template Dot<1, 4, 7>();
      }
      if constexpr (kStoredTiles == 2) {
        stored[1].template Load<5>(step, num_steps);
        Tiles::template Dot<2, 5, 6>();
        if constexpr (kRowTiles == 2) Tiles::template Dot<3, 5, 7>();
      }
    }
    Write<0>(block, stored[0], first_stored, row_tile);
    if constexpr (kRowTiles == 2) Write<1>(block, stored[0], first_stored, row_tile + 1);
    if constexpr (kStoredTiles == 2) {
      Write<2>(block, stored[1], first_stored + kRows, row_tile);
      if constexpr (kRowTiles == 2) Write<3>(block, stored[1], first_stored + kRows, row_tile + 1);
    }
  }

  template <int C>
  static void Write(const DotBlock& block, const StoredRows& stored, size_t first_stored,
                    size_t row_tile) {
    alignas(64) float sums[kRows * kRows];
    Tiles::template Store<C>(sums);
    const size_t first_row = row_tile * kRows;
    Tiles::WriteProducts(sums, std::min(kRows, block.num_rows - first_row), stored.num_rows, block,
                         block.out + first_row * block.out_stride + first_stored);
  }

  static void Multiply(const DotBlock& block) {
    static thread_local AlignedBuffer copies;
    const size_t copy_bytes = NumSteps(block.k) * kTileBytes;
    auto* const copy = copies.Get<std::byte>(2 * copy_bytes);
    const size_t num_row_tiles = NumRowTiles(block.num_rows);
    Tiles::Begin();
    for (size_t n = 0; n < block.num_stored; n += 2 * kRows) {
      const StoredRows stored[2] = {StoredRowsAt(block, n, copy),
                                    StoredRowsAt(block, n + kRows, copy + copy_bytes)};
      const bool more = n + 4 * kRows <= block.num_stored;
      Ahead ahead = {more ? block.stored + (n + 2 * kRows) * block.stored_stride : nullptr,
                     block.stored_stride, 0, (num_row_tiles + 1) / 2};
      for (size_t tile = 0; tile < num_row_tiles; tile += 2, ++ahead.turn) {
        const bool two = tile + 1 < num_row_tiles;
        if (stored[1].num_rows > 0) {
          two ? MultiplyTiles<2, 2>(block, stored, n, tile, ahead)
              : MultiplyTiles<2, 1>(block, stored, n, tile, ahead);
        } else {
          two ? MultiplyTiles<1, 2>(block, stored, n, tile, ahead)
              : MultiplyTiles<1, 1>(block, stored, n, tile, ahead);
        }
      }
    }
    Tiles::End();
  }
};
