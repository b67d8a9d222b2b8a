#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/core/tensor_view.h"

// Scores of quantised keys (quantized_keys.h) with quantised rows, and what they can be off by.
//
// With a row q = r * m + d (r its scale, m its codes) and a key k = s * n + e
//   A = r * s * (m . n),   |q . k - A| = |d . k + r * m . e| <= alpha * |e| + beta * |k|
//   alpha = |r * m|, beta = |d| + what f32 takes of q . k in the exact scan and of A here.
// m . n is a sum of whole numbers, the same in any order.
namespace msa::kernels {

// The routed rows of all queries, quantised, in the order in which tiles read them.
struct Int8Rows {
  struct Row {
    float scale = 0;
    int32_t bias = 0;  // 128 times the sum of the row's codes: keys are stored as n + 128
    float alpha = 0;
    float beta = 0;
    int32_t query = 0;
  };
  struct Tile {
    size_t first_row = 0;
    size_t num_rows = 0;
    size_t first_code = 0;  // codes [steps, num_rows, 4]
  };
  std::vector<Row> rows;
  std::vector<Tile> tiles;
  std::vector<int8_t> codes;
};

// For every chunk j of some groups and every query the largest of A + bound and of A - bound over
// the query's rows.
struct Int8ScanArgs {
  const Int8Rows* rows = nullptr;
  const std::byte* groups = nullptr;
  size_t num_groups = 0;
  size_t steps = 0;  // QuantizedSteps
  // [Q, stride]; in: -infinity.
  float* upper = nullptr;
  float* lower = nullptr;
  size_t stride = 0;  // at least 16 * num_groups
};

// `scan` may run on any number of threads, each with bounds of its own.
struct Int8ScanKernel {
  int row_limit;          // of a row's codes; keys have up to 127
  size_t most_tile_rows;  // of a tile
  void (*scan)(const Int8ScanArgs& args);
};

// By vpdpbusd where the machine has it and the level in use is not avx2; otherwise by pairs of
// 16-bit sums, which larger codes of a row would overflow. Thread-safe.
Int8ScanKernel SelectInt8ScanKernel();

// Quantises the rows [T, W] of Q queries (offsets [Q + 1]), rounded to bf16 first if
// `round_to_bf16`. False: a row is not finite or very large.
bool PrepareInt8Rows(TensorView<const float, 2> rows, absl::Span<const int64_t> query_offsets,
                     bool round_to_bf16, const Int8ScanKernel& kernel, Int8Rows* prepared);

namespace avx512_vnni {
Int8ScanKernel ScanKernel();
}  // namespace avx512_vnni
namespace avx2_pairs {
Int8ScanKernel ScanKernel();
}  // namespace avx2_pairs

}  // namespace msa::kernels
