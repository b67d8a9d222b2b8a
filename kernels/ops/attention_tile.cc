#include "kernels/ops/attention_tile.h"

#include <algorithm>
#include <limits>

#include "kernels/core/check.h"

namespace msa::kernels {
namespace {

constexpr size_t kMostLanes = 16;

}  // namespace

void AttentionTile::Begin(size_t num_rows, size_t head_dim, DType dtype, float scale) {
  num_rows_ = num_rows;
  head_dim_ = head_dim;
  dtype_ = dtype;
  scale_ = scale;
  kernel_ = SelectDotKernel(dtype, ComputeDType::kF32);
  queries_ = query_buffer_.Get<std::byte>(kernel_.prepared_bytes(num_rows, head_dim));
  scores_ = score_buffer_.Get<float>(num_rows * kRowsPerBlock);
  sums_stride_ = (head_dim + kMostLanes - 1) / kMostLanes * kMostLanes;
  sums_ = sums_buffer_.Get<float>(num_rows * sums_stride_);
  maxima_ = maxima_buffer_.Get<float>(num_rows);
  totals_ = totals_buffer_.Get<float>(num_rows);
  std::fill_n(sums_, num_rows * sums_stride_, 0.0f);
  std::fill_n(maxima_, num_rows, -std::numeric_limits<float>::infinity());
  std::fill_n(totals_, num_rows, 0.0f);
}

void AttentionTile::SetQuery(size_t row, const float* query) {
  kernel_.prepare_row(query, head_dim_, false, row, num_rows_, queries_);
}

void AttentionTile::Add(const KvBlock& block, absl::Span<const size_t> counts) {
  MSA_CHECK(counts.size() == num_rows_ && block.num_rows <= kRowsPerBlock,
            "a block does not fit its attention tile");
  DotBlock products;
  products.prepared = queries_;
  products.num_rows = num_rows_;
  products.stored = block.keys;
  products.stored_stride = block.stride;
  products.num_stored = block.num_rows;
  products.k = head_dim_;
  products.out = scores_;
  products.out_stride = kRowsPerBlock;
  kernel_.multiply(products);
  for (size_t m = 0; m < num_rows_; ++m) {
    if (counts[m] == 0) continue;
    UpdateSoftmax(scores_ + m * kRowsPerBlock, counts[m], scale_,
                  {maxima_ + m, totals_ + m, sums_ + m * sums_stride_, sums_stride_});
  }
  ValueBlock values;
  values.weights = scores_;
  values.counts = counts.data();
  values.num_rows = num_rows_;
  values.values = block.values;
  values.stride = block.stride;
  values.dtype = dtype_;
  values.head_dim = head_dim_;
  values.sums = sums_;
  values.sums_stride = sums_stride_;
  AddValueBlock(values);
}

void AttentionTile::Finish(size_t row, float* output) const {
  const float* const sums = sums_ + row * sums_stride_;
  const bool seen = totals_[row] != 0.0f;  // the largest weight is 1; NaN has been seen as well
  for (size_t d = 0; d < head_dim_; ++d) output[d] = seen ? sums[d] / totals_[row] : 0.0f;
}

}  // namespace msa::kernels
