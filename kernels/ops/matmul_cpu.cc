#include <algorithm>
#include <array>
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

// Output columns per task, a multiple of `group`: fits the cache, gives every thread several tasks,
// and is not too small.
int64_t ColumnsPerTask(int64_t num_rows, const MatrixView& weight, int num_threads, int64_t group) {
  const auto rounded_up = [&](int64_t columns) { return (columns + group - 1) / group * group; };
  const int64_t row_bytes = weight.columns * static_cast<int64_t>(SizeOf(weight.dtype));
  const int64_t fits = kWeightBytesPerTask / row_bytes / group * group;
  const int64_t shared = rounded_up(weight.rows / (4 * num_threads));
  const int64_t worth = rounded_up(kProductsPerTask / (num_rows * weight.columns));
  return std::max({group, std::min(fits, shared), worth});
}

// Rows [first_row, first_row + num_rows) of one product's output, `num_columns` columns from
// `first_column` on.
DotBlock BlockOf(const MatMulProduct& product, const std::byte* prepared, int64_t first_row,
                 int64_t num_rows, int64_t first_column, int64_t num_columns) {
  const auto k = static_cast<size_t>(product.weight.columns);
  DotBlock block;
  block.prepared = prepared;
  block.num_rows = static_cast<size_t>(num_rows);
  block.stored_stride = k * SizeOf(product.weight.dtype);
  block.stored = static_cast<const std::byte*>(product.weight.data) +
                 static_cast<size_t>(first_column) * block.stored_stride;
  block.num_stored = static_cast<size_t>(std::min(num_columns, product.weight.rows - first_column));
  block.k = k;
  block.out = product.output.row(first_row) + first_column;
  block.out_stride = static_cast<size_t>(product.weight.rows);
  block.add = product.add_to_output;
  return block;
}

}  // namespace

void MatMulEach(ThreadPool& pool, TensorView<const float, 2> input,
                absl::Span<const MatMulProduct> products, ComputeDType compute) {
  static thread_local AlignedBuffer prepared_buffer;
  const DotKernel kernel = SelectDotKernel(products[0].weight.dtype, compute);
  const int64_t row_size = input.shape[1];
  const auto k = static_cast<size_t>(row_size);
  for (int64_t first_row = 0; first_row < input.shape[0]; first_row += kRowsAtATime) {
    const int64_t num_rows = std::min(kRowsAtATime, input.shape[0] - first_row);
    auto* const prepared =
        prepared_buffer.Get<std::byte>(kernel.prepared_bytes(static_cast<size_t>(num_rows), k));
    ParallelForRows(pool, num_rows, row_size, [&](int64_t begin, int64_t end) {
      for (int64_t m = begin; m < end; ++m) {
        kernel.prepare_row(input.row(first_row + m), k, kernel.round_to_bf16,
                           static_cast<size_t>(m), static_cast<size_t>(num_rows), prepared);
      }
    });
    std::array<int64_t, kMostProducts> columns_per_task;
    std::array<int64_t, kMostProducts> tasks_end;
    int64_t num_tasks = 0;
    for (size_t i = 0; i < products.size(); ++i) {
      const MatrixView& weight = products[i].weight;
      columns_per_task[i] = ColumnsPerTask(num_rows, weight, pool.num_threads(),
                                           static_cast<int64_t>(kernel.stored_group));
      num_tasks += (weight.rows + columns_per_task[i] - 1) / columns_per_task[i];
      tasks_end[i] = num_tasks;
    }
    pool.ParallelFor(num_tasks, [&](int64_t task) {
      size_t i = 0;
      while (task >= tasks_end[i]) ++i;
      const int64_t first_column = (task - (i == 0 ? 0 : tasks_end[i - 1])) * columns_per_task[i];
      kernel.multiply(
          BlockOf(products[i], prepared, first_row, num_rows, first_column, columns_per_task[i]));
    });
  }
}

}  // namespace msa::kernels::cpu
