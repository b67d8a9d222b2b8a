#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/core/aligned_buffer.h"
#include "kernels/core/dtype.h"
#include "kernels/ops/dot_product.h"
#include "kernels/ops/softmax_sums.h"

namespace msa::kernels {

// Keys and values of one KV head, at most AttentionTile::kRowsPerBlock rows.
struct KvBlock {
  const std::byte* keys = nullptr;    // rows of D elements, `stride` bytes apart
  const std::byte* values = nullptr;  // likewise
  size_t stride = 0;
  size_t num_rows = 0;
};

// Softmax attention of several query rows that read the same KV head, block by block (the running
// maximum and sum of "Online normalizer calculation for softmax", Milakov and Gimelshein 2018). Per
// row and block: scores by dot_product.h in f32, p = exp(score - maximum so far), sums over the
// block's rows in ascending order. A row's result depends on its own query and the blocks it was
// given, bitwise, not on the other rows of the tile. Scores are clamped to the finite f32 range;
// NaN stays NaN. One tile per thread, reused.
class AttentionTile {
 public:
  static constexpr size_t kRowsPerBlock = kSoftmaxBlock;

  // Starts `num_rows` rows of `head_dim` values; `dtype` is that of all blocks.
  void Begin(size_t num_rows, size_t head_dim, DType dtype, float scale);
  void SetQuery(size_t row, const float* query);
  // Row m sees the first counts[m] rows of the block.
  void Add(const KvBlock& block, absl::Span<const size_t> counts);
  // The attention output [D] of a row; zeros if it has seen nothing.
  void Finish(size_t row, float* output) const;

 private:
  size_t num_rows_ = 0;
  size_t head_dim_ = 0;
  size_t sums_stride_ = 0;  // in floats
  DType dtype_ = DType::kF32;
  float scale_ = 1.0f;
  DotKernel kernel_{};
  AlignedBuffer query_buffer_;
  AlignedBuffer score_buffer_;
  AlignedBuffer sums_buffer_;
  AlignedBuffer maxima_buffer_;
  AlignedBuffer totals_buffer_;
  std::byte* queries_ = nullptr;
  float* scores_ = nullptr;  // [num_rows, kRowsPerBlock]; weights after the softmax
  float* sums_ = nullptr;    // [num_rows, sums_stride]: weighted sums of values
  float* maxima_ = nullptr;  // [num_rows]
  float* totals_ = nullptr;  // [num_rows]: sums of weights
};

}  // namespace msa::kernels
