#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/cpu_features.h"
#include "kernels/core/dtype.h"
#include "kernels/core/op_context.h"

// Dot products of prepared rows with stored rows, the inner part of MatMul, ScoreChunks and
// attention scores.
//
// Order. A product accumulates in one vector of f32 lanes along K: step s adds elements [s * S, (s
// + 1) * S) by one fixed sequence of multiply-adds, K's tail is filled up with zeros, and the lanes
// are added by one fixed tree at the end. The sequence depends on the formats and the CPU level
// only, never on how many rows are multiplied together, so an element is bitwise the same in any
// company. On the amx level a bf16 product is one chain of tile steps instead (dot_amx-inl.h).
namespace msa::kernels {

// out[m, n] (+)= prepared_row(m) . stored_row(n)   for m < num_rows, n < num_stored.
struct DotBlock {
  const std::byte* prepared = nullptr;  // all of the rows, written by DotKernel::prepare_row
  size_t num_rows = 0;
  const std::byte* stored = nullptr;  // rows of `k` elements in the stored dtype
  size_t stored_stride = 0;           // in bytes
  size_t num_stored = 0;
  size_t k = 0;  // at least 1
  float* out = nullptr;
  size_t out_stride = 0;  // in floats
  bool add = false;
};

struct DotKernel {
  // Bytes of `num_rows` prepared rows of k elements; a multiple of 64.
  size_t (*prepared_bytes)(size_t num_rows, size_t k);
  // Writes row `index` of `num_rows` into the layout that `multiply` reads; `prepared`, where the
  // rows begin, is aligned to 64 bytes.
  void (*prepare_row)(const float* row, size_t k, bool round_to_bf16, size_t index, size_t num_rows,
                      std::byte* prepared);
  void (*multiply)(const DotBlock& block);
  // Whether rows are rounded to bf16 when they are prepared.
  bool round_to_bf16;
  // Stored rows are multiplied so many at a time; a multiple of that wastes nothing.
  size_t stored_group;
};

// The kernel for rows stored as f32 or bf16. kBF16 rounds the prepared rows to bf16; the products
// are then computed by tdpbf16ps or vdpbf16ps where both sides are bf16 and the level has it, and
// by f32 multiply-adds of the rounded values otherwise.
DotKernel SelectDotKernel(DType stored, ComputeDType compute);

// Both sides bf16, on the avx512-bf16 and on the amx level.
namespace avx512_bf16 {
DotKernel Bf16PairsKernel();
}  // namespace avx512_bf16
namespace amx {
DotKernel Bf16TilesKernel();

// What surrounds the tiles (see PreparePairs and WriteProducts of dot_amx-inl.h), by the
// instructions of the avx512-bf16 level.
void PreparePairs(const float* row, size_t count, uint32_t* pairs);
void WriteProducts(const float* sums, size_t num_rows, size_t num_stored, const DotBlock& block,
                   float* out);
}  // namespace amx

}  // namespace msa::kernels
