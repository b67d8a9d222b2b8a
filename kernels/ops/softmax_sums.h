#pragma once

#include <cstddef>

#include "kernels/core/dtype.h"

// The two vectorised steps of attention_tile.h.
namespace msa::kernels {

// Keys and values are visited this many rows at a time.
inline constexpr size_t kSoftmaxBlock = 64;

// sums[m, d] += sum over j < counts[m] of weights[m, j] * values[j, d], each as one chain of f32
// multiply-adds in ascending j.
struct ValueBlock {
  const float* weights = nullptr;  // [num_rows, kSoftmaxBlock]
  const size_t* counts = nullptr;  // [num_rows]
  size_t num_rows = 0;
  const std::byte* values = nullptr;  // rows of head_dim elements
  size_t stride = 0;                  // in bytes
  DType dtype = DType::kF32;          // f32 or bf16
  size_t head_dim = 0;
  float* sums = nullptr;   // rows of at least head_dim rounded up to 16, aligned to 64 bytes
  size_t sums_stride = 0;  // in floats
};
void AddValueBlock(const ValueBlock& block);

// The running softmax of one row; `maximum` starts as -infinity, `total` and `sums` as zero.
struct SoftmaxRow {
  float* maximum = nullptr;
  float* total = nullptr;
  float* sums = nullptr;  // [sums_stride]
  size_t sums_stride = 0;
};

// Turns `count` >= 1 products, of room for kSoftmaxBlock, into weights  exp(scale * product -
// maximum so far), and brings the row's maximum, total and sums up to date. Scores are clamped to
// the finite range of f32; NaN stays NaN.
void UpdateSoftmax(float* products, size_t count, float scale, const SoftmaxRow& row);

}  // namespace msa::kernels
