#include <algorithm>
#include <vector>

#include "kernels/ops/attention_tile.h"
#include "kernels/ops/cpu_ops.h"

namespace msa::kernels::cpu {
namespace {

// Query rows times query heads of a tile, as in attend_cpu.cc.
constexpr int64_t kRowsPerTile = 48;

// Rows [begin, end) of the document that begins at doc_begin.
struct RowRange {
  int64_t doc_begin;
  int64_t begin;
  int64_t end;
};

void AttendRows(const CausalAttentionArgs& args, const RowRange& range, int64_t kv_head) {
  static thread_local AttentionTile tile;
  const int64_t num_kv_heads = args.key.shape[1];
  const int64_t heads = args.query.shape[1] / num_kv_heads;
  const int64_t head_dim = args.query.shape[2];
  const int64_t num_rows = (range.end - range.begin) * heads;
  tile.Begin(static_cast<size_t>(num_rows), static_cast<size_t>(head_dim), DType::kF32, args.scale);
  // Tile row m is query row m / heads and its head m % heads.
  const auto offset = [&](int64_t m) { return (kv_head * heads + m % heads) * head_dim; };
  for (int64_t m = 0; m < num_rows; ++m) {
    tile.SetQuery(static_cast<size_t>(m), args.query.row(range.begin + m / heads) + offset(m));
  }
  static thread_local std::vector<size_t> counts;
  counts.resize(static_cast<size_t>(num_rows));
  constexpr auto kBlock = static_cast<int64_t>(AttentionTile::kRowsPerBlock);
  for (int64_t first = range.doc_begin; first < range.end; first += kBlock) {
    const int64_t rows = std::min(kBlock, range.end - first);
    for (int64_t m = 0; m < num_rows; ++m) {
      counts[static_cast<size_t>(m)] =
          static_cast<size_t>(std::clamp<int64_t>(range.begin + m / heads + 1 - first, 0, rows));
    }
    KvBlock block;
    block.keys = reinterpret_cast<const std::byte*>(args.key.row(first) + kv_head * head_dim);
    block.values = reinterpret_cast<const std::byte*>(args.value.row(first) + kv_head * head_dim);
    block.stride = static_cast<size_t>(num_kv_heads * head_dim) * sizeof(float);
    block.num_rows = static_cast<size_t>(rows);
    tile.Add(block, counts);
  }
  for (int64_t m = 0; m < num_rows; ++m) {
    tile.Finish(static_cast<size_t>(m),
                args.output.row(range.begin + m / heads - args.row_begin) + offset(m));
  }
}

}  // namespace

void CausalAttention(ThreadPool& pool, const CausalAttentionArgs& args) {
  const int64_t num_kv_heads = args.key.shape[1];
  const int64_t rows_per_range =
      std::max<int64_t>(1, kRowsPerTile / (args.query.shape[1] / num_kv_heads));
  static thread_local std::vector<RowRange> range_buffer;
  std::vector<RowRange>& ranges = range_buffer;  // tasks on other threads would see their own
  ranges.clear();
  for (size_t document = 0; document + 1 < args.doc_offsets.size(); ++document) {
    const int64_t begin = std::max(args.doc_offsets[document], args.row_begin);
    const int64_t end = std::min(args.doc_offsets[document + 1], args.row_end);
    for (int64_t row = begin; row < end; row += rows_per_range) {
      ranges.push_back({args.doc_offsets[document], row, std::min(row + rows_per_range, end)});
    }
  }
  pool.ParallelFor(static_cast<int64_t>(ranges.size()) * num_kv_heads, [&](int64_t task) {
    AttendRows(args, ranges[static_cast<size_t>(task / num_kv_heads)], task % num_kv_heads);
  });
}

}  // namespace msa::kernels::cpu
