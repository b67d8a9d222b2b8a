// Lines of msa_kernel_bench: attention of one row and of many.
#include <cmath>
#include <numeric>

#include "absl/strings/str_format.h"
#include "kernels/ops/attend.h"
#include "tests/bench/kernel_bench.h"
#include "tests/kernels/ops/naive_ops.h"

namespace msa::bench {
namespace {

using kernels::DType;

void AttendLine(int64_t num_rows, int64_t num_keys, DType dtype, KernelBench* bench) {
  constexpr int64_t kHeads = 16;
  constexpr int64_t kKvHeads = 8;
  constexpr int64_t kHeadDim = 128;
  const std::string name =
      absl::StrFormat("attend %s T=%d, %d keys, 16 x 128 heads, 8 KV",
                      dtype == DType::kF32 ? "f32" : "bf16", num_rows, num_keys);
  if (!bench->Wanted(name)) return;
  const kernels::KvPageShape shape{kKvHeads, 64, kHeadDim, dtype};
  const auto num_pages = static_cast<size_t>(num_keys / shape.rows_per_page);
  const auto page_bytes = static_cast<size_t>(shape.bytes());
  std::vector<float> f32_pages;
  if (dtype == DType::kF32) f32_pages = bench->values().F32(num_pages * page_bytes / 4);
  const auto* const pages = dtype == DType::kF32
                                ? reinterpret_cast<const std::byte*>(f32_pages.data())
                                : reinterpret_cast<const std::byte*>(bench->memory().data());
  std::vector<kernels::KvSpan> spans;
  for (size_t i = 0; i < num_pages; ++i) spans.push_back({pages + i * page_bytes, 64});
  std::vector<int32_t> visible;
  for (int64_t t = 0; t < num_rows; ++t)
    visible.push_back(static_cast<int32_t>(num_keys - num_rows + t + 1));
  const kernels::AttendGroup group{0, num_rows, {}, spans, visible};
  const std::vector<float> query =
      bench->values().F32(static_cast<size_t>(num_rows * kHeads * kHeadDim));
  std::vector<float> output(query.size());
  const float scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
  const auto run = [&] {
    CheckOk(kernels::Attend({kernels::DeviceKind::kCpu, &bench->pool()},
                            {.query = {query.data(), {num_rows, kHeads, kHeadDim}},
                             .shape = shape,
                             .groups = {&group, 1},
                             .scale = scale,
                             .output = {output.data(), {num_rows, kHeads, kHeadDim}}}));
  };
  run();
  const auto at = [&](size_t index) {
    return dtype == DType::kF32 ? f32_pages[index] : kernels::ToF32(bench->memory()[index]);
  };
  for (const int64_t head : {0, 7, 15}) {  // of the last row
    std::vector<kernels::naive::Doubles> keys;
    std::vector<kernels::naive::Doubles> values;
    for (int64_t row = 0; row < num_keys; ++row) {
      const int64_t page = row / 64 * 2 * kKvHeads;
      const auto key = static_cast<size_t>(((page + head / 2) * 64 + row % 64) * kHeadDim);
      const auto value =
          static_cast<size_t>(((page + kKvHeads + head / 2) * 64 + row % 64) * kHeadDim);
      keys.emplace_back();
      values.emplace_back();
      for (size_t d = 0; d < kHeadDim; ++d) {
        keys.back().push_back(at(key + d));
        values.back().push_back(at(value + d));
      }
    }
    const auto first = static_cast<int64_t>(((num_rows - 1) * kHeads + head) * kHeadDim);
    const kernels::naive::Doubles row(query.begin() + first, query.begin() + first + kHeadDim);
    const kernels::naive::Doubles expected = kernels::naive::AttendRow(row, keys, values, scale);
    for (size_t d = 0; d < expected.size(); ++d)
      CheckValue("Attend", output[static_cast<size_t>(first) + d], expected[d], 1e-5);
  }
  const double seconds = bench->BestSeconds(run);
  const double seen = std::accumulate(visible.begin(), visible.end(), 0.0);
  bench->Report(name, seconds, static_cast<double>(num_pages * page_bytes),
                4.0 * seen * kHeads * kHeadDim, KernelBench::Bound::kF32);
}

}  // namespace

void BenchAttend(KernelBench* bench) {
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    AttendLine(1, 4096, dtype, bench);
    AttendLine(256, 1024, dtype, bench);
  }
}

}  // namespace msa::bench
