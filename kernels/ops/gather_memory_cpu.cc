#include "kernels/ops/convert_rows.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/row_ranges.h"

namespace msa::kernels::cpu {
namespace {

enum class Part { kKeys = 0, kValues = 1 };

// Writes one row's keys or values of all heads, [Hkv, D], into its page.
void StoreRow(const std::byte* source, DType source_dtype, const KvPageShape& shape,
              absl::Span<void* const> pages, int64_t row, Part part) {
  auto* const page = static_cast<std::byte*>(pages[static_cast<size_t>(row / shape.rows_per_page)]);
  const auto head_dim = static_cast<size_t>(shape.head_dim);
  for (int64_t head = 0; head < shape.num_kv_heads; ++head) {
    const int64_t plane = static_cast<int64_t>(part) * shape.num_kv_heads + head;
    const auto position =
        static_cast<size_t>(plane * shape.rows_per_page + row % shape.rows_per_page);
    ConvertRow(source + static_cast<size_t>(head) * head_dim * SizeOf(source_dtype), source_dtype,
               head_dim, page + position * head_dim * SizeOf(shape.dtype), shape.dtype);
  }
}

}  // namespace

void GatherMemory(ThreadPool& pool, const GatherMemoryArgs& args) {
  const int64_t width = args.shape.num_kv_heads * args.shape.head_dim;
  const auto row_bytes = static_cast<size_t>(width) * SizeOf(args.content_dtype);
  const auto* const content = static_cast<const std::byte*>(args.content);
  ParallelForRows(pool, args.num_chunks, 2 * width, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const std::byte* const keys = content + static_cast<size_t>(2 * chunk) * row_bytes;
      const int64_t row = args.first_row + chunk;
      StoreRow(keys, args.content_dtype, args.shape, args.pages, row, Part::kKeys);
      StoreRow(keys + row_bytes, args.content_dtype, args.shape, args.pages, row, Part::kValues);
    }
  });
}

void StoreLocal(ThreadPool& pool, const StoreLocalArgs& args) {
  ParallelForRows(
      pool, args.key.shape[0], 2 * args.key.shape[1] * args.key.shape[2],
      [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const auto* const key = reinterpret_cast<const std::byte*>(args.key.row(t));
          const auto* const value = reinterpret_cast<const std::byte*>(args.value.row(t));
          StoreRow(key, DType::kF32, args.shape, args.pages, args.first_row + t, Part::kKeys);
          StoreRow(value, DType::kF32, args.shape, args.pages, args.first_row + t, Part::kValues);
        }
      });
}

}  // namespace msa::kernels::cpu
