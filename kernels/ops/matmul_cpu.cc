#include <algorithm>
#include <cstddef>

#include "kernels/core/aligned_buffer.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/dot_product.h"
#include "kernels/ops/row_ranges.h"

namespace msa::kernels::cpu {
namespace {

// Input rows prepared at a time: bounds the scratch memory, and enough to use each weight often
// once it is in the cache.
constexpr int64_t kRowsAtATime = 256;
// Weights of one task, read again for every tile of input rows: a share of the smallest
// second-level cache (512 KiB).
constexpr int64_t kWeightBytesPerTask = 256 * 1024;
// A task that multiplies less than this is not worth handing to another thread.
constexpr int64_t kProductsPerTask = 128 * 1024;
constexpr int64_t kColumnGroup = 8;

int64_t RoundUpToGroup(int64_t columns) {
  return (columns + kColumnGroup - 1) / kColumnGroup * kColumnGroup;
}

// Output columns per task: fits the cache, gives every thread several tasks, and is not too small.
int64_t ColumnsPerTask(int64_t num_rows, const MatrixView& weight, int num_threads) {
  const int64_t row_bytes = weight.columns * static_cast<int64_t>(SizeOf(weight.dtype));
  const int64_t fits = kWeightBytesPerTask / row_bytes / kColumnGroup * kColumnGroup;
  const int64_t shared = RoundUpToGroup(weight.rows / (4 * num_threads));
  const int64_t worth = RoundUpToGroup(kProductsPerTask / (num_rows * weight.columns));
  return std::max({kColumnGroup, std::min(fits, shared), worth});
}

}  // namespace

void MatMul(ThreadPool& pool, const MatMulArgs& args) {
  static thread_local AlignedBuffer prepared_buffer;
  const DotKernel kernel = SelectDotKernel(args.weight.dtype, args.compute);
  const auto k = static_cast<size_t>(args.weight.columns);
  const size_t weight_stride = k * SizeOf(args.weight.dtype);
  const int64_t num_columns = args.weight.rows;
  for (int64_t first_row = 0; first_row < args.input.shape[0]; first_row += kRowsAtATime) {
    const int64_t num_rows = std::min(kRowsAtATime, args.input.shape[0] - first_row);
    auto* const prepared =
        prepared_buffer.Get<std::byte>(kernel.prepared_bytes(static_cast<size_t>(num_rows), k));
    ParallelForRows(pool, num_rows, args.weight.columns, [&](int64_t begin, int64_t end) {
      for (int64_t m = begin; m < end; ++m) {
        kernel.prepare_row(args.input.row(first_row + m), k, kernel.round_to_bf16,
                           static_cast<size_t>(m), static_cast<size_t>(num_rows), prepared);
      }
    });
    const int64_t columns_per_task = ColumnsPerTask(num_rows, args.weight, pool.num_threads());
    pool.ParallelFor((num_columns + columns_per_task - 1) / columns_per_task, [&](int64_t task) {
      const int64_t first_column = task * columns_per_task;
      DotBlock block;
      block.prepared = prepared;
      block.num_rows = static_cast<size_t>(num_rows);
      block.stored = static_cast<const std::byte*>(args.weight.data) +
                     static_cast<size_t>(first_column) * weight_stride;
      block.stored_stride = weight_stride;
      block.num_stored =
          static_cast<size_t>(std::min(columns_per_task, num_columns - first_column));
      block.k = k;
      block.out = args.output.row(first_row) + first_column;
      block.out_stride = static_cast<size_t>(num_columns);
      block.add = args.add_to_output;
      kernel.multiply(block);
    });
  }
}

}  // namespace msa::kernels::cpu
