#include "kernels/ops/convert_rows.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/row_ranges.h"

namespace msa::kernels::cpu {

void Embed(ThreadPool& pool, const MatrixView& table, absl::Span<const int32_t> token_ids,
           TensorView<float, 2> output) {
  const auto columns = static_cast<size_t>(table.columns);
  const auto* const rows = static_cast<const std::byte*>(table.data);
  ParallelForRows(pool, output.shape[0], table.columns, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const auto id = static_cast<size_t>(token_ids[static_cast<size_t>(t)]);
      ConvertRow(rows + id * columns * SizeOf(table.dtype), table.dtype, columns, output.row(t),
                 DType::kF32);
    }
  });
}

}  // namespace msa::kernels::cpu
