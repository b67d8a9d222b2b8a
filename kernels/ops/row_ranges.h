#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "kernels/core/thread_pool.h"

namespace msa::kernels {

// Cuts `num_rows` rows of `row_size` values into tasks worth waking a thread for and calls
// body(begin, end) for each.
inline void ParallelForRows(ThreadPool& pool, int64_t num_rows, int64_t row_size,
                            absl::FunctionRef<void(int64_t begin, int64_t end)> body) {
  constexpr int64_t kValuesPerTask = 16384;
  const int64_t rows_per_task =
      std::max<int64_t>(1, kValuesPerTask / std::max<int64_t>(1, row_size));
  pool.ParallelFor((num_rows + rows_per_task - 1) / rows_per_task, [&](int64_t task) {
    const int64_t begin = task * rows_per_task;
    body(begin, std::min(num_rows, begin + rows_per_task));
  });
}

}  // namespace msa::kernels
