#include "kernels/ops/int8_scan.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/core/cpu_features.h"
#include "kernels/core/dtype.h"
#include "kernels/ops/quantized_keys.h"

namespace msa::kernels {

Int8ScanKernel SelectInt8ScanKernel() {
  static const bool has_vnni = __builtin_cpu_supports("avx512vnni");
  return has_vnni && ActiveCpuLevel() != CpuLevel::kAvx2 ? avx512_vnni::ScanKernel()
                                                         : avx2_pairs::ScanKernel();
}

bool PrepareInt8Rows(TensorView<const float, 2> rows, absl::Span<const int64_t> query_offsets,
                     bool round_to_bf16, const Int8ScanKernel& kernel, Int8Rows* prepared) {
  const int64_t width = rows.shape[1];
  const auto steps = static_cast<size_t>(QuantizedSteps(width));
  const auto num_rows = static_cast<size_t>(rows.shape[0]);
  const size_t num_tiles = (num_rows + kernel.most_tile_rows - 1) / kernel.most_tile_rows;
  prepared->rows.resize(num_rows);
  prepared->codes.resize(4 * steps * num_rows);
  prepared->tiles.clear();
  std::vector<float> values(static_cast<size_t>(width));
  std::vector<int8_t> codes(4 * steps);
  size_t query = 0;
  for (size_t i = 0; i < num_tiles; ++i) {
    const size_t first = i * num_rows / num_tiles;
    const Int8Rows::Tile tile{first, (i + 1) * num_rows / num_tiles - first, first * 4 * steps};
    prepared->tiles.push_back(tile);
    for (size_t m = 0; m < tile.num_rows; ++m) {
      const auto t = static_cast<int64_t>(first + m);
      while (query_offsets[query + 1] <= t) ++query;
      std::copy_n(rows.row(t), width, values.begin());
      if (round_to_bf16) {
        for (float& value : values) value = ToF32(ToBF16(value));
      }
      const QuantizedRow row = QuantizeRow(values.data(), width, kernel.row_limit, codes.data());
      if (!std::isfinite(row.error_norm)) return false;
      int32_t sum = 0;
      for (const int8_t code : codes) sum += code;
      // The exact scan adds `width` products in f32, in whatever order; the score here is rounded a
      // few times. The last summand covers what is lost of numbers near zero.
      const double rounding = (static_cast<double>(width) + 64) * 0x1p-24;
      const double alpha = static_cast<double>(row.norm) + row.error_norm;
      prepared->rows[first + m] = {
          .scale = row.scale,
          .bias = 128 * sum,
          .alpha = static_cast<float>(alpha * (1 + 0x1p-18) + 1e-30),
          .beta = static_cast<float>((row.error_norm + rounding * alpha) * (1 + 0x1p-18) + 1e-30),
          .query = static_cast<int32_t>(query)};
      int8_t* const target = prepared->codes.data() + tile.first_code + 4 * m;
      for (size_t step = 0; step < steps; ++step) {
        std::memcpy(target + step * 4 * tile.num_rows, codes.data() + 4 * step, 4);
      }
    }
  }
  return true;
}

}  // namespace msa::kernels
