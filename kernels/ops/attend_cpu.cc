#include <algorithm>
#include <vector>

#include "kernels/ops/attention_tile.h"
#include "kernels/ops/cpu_ops.h"

namespace msa::kernels::cpu {
namespace {

// Query rows times query heads of a tile: enough to use every key and value often while it is in
// the cache.
constexpr int64_t kRowsPerTile = 48;

// Some query rows of a group; every task is one of these and one KV head.
struct RowRange {
  const AttendGroup* group;
  int64_t begin;
  int64_t end;
};

void AddSpan(const KvSpan& span, const KvPageShape& shape, int64_t kv_head,
             absl::Span<const int64_t> visible, std::vector<size_t>& counts, AttentionTile& tile) {
  const int64_t row_bytes = shape.head_dim * static_cast<int64_t>(SizeOf(shape.dtype));
  const auto* const page = static_cast<const std::byte*>(span.page);
  constexpr auto kBlock = static_cast<int64_t>(AttentionTile::kRowsPerBlock);
  for (int64_t first = 0; first < span.num_rows; first += kBlock) {
    const int64_t rows = std::min<int64_t>(kBlock, span.num_rows - first);
    int64_t most = 0;
    for (size_t m = 0; m < counts.size(); ++m) {
      const int64_t count = std::clamp<int64_t>(visible[m] - first, 0, rows);
      counts[m] = static_cast<size_t>(count);
      most = std::max(most, count);
    }
    if (most == 0) return;
    KvBlock block;
    block.keys = page + (kv_head * shape.rows_per_page + first) * row_bytes;
    block.values =
        page + ((shape.num_kv_heads + kv_head) * shape.rows_per_page + first) * row_bytes;
    block.stride = static_cast<size_t>(row_bytes);
    block.num_rows = static_cast<size_t>(most);
    tile.Add(block, counts);
  }
}

void AttendRows(const AttendArgs& args, const RowRange& range, int64_t kv_head) {
  static thread_local AttentionTile tile;
  const AttendGroup& group = *range.group;
  const int64_t heads = args.query.shape[1] / args.shape.num_kv_heads;
  const int64_t head_dim = args.shape.head_dim;
  const int64_t num_rows = (range.end - range.begin) * heads;
  tile.Begin(static_cast<size_t>(num_rows), static_cast<size_t>(head_dim), args.shape.dtype,
             args.scale);
  // Tile row m is query row m / heads and its head m % heads.
  const auto offset = [&](int64_t m) { return (kv_head * heads + m % heads) * head_dim; };
  for (int64_t m = 0; m < num_rows; ++m) {
    tile.SetQuery(static_cast<size_t>(m), args.query.row(range.begin + m / heads) + offset(m));
  }
  static thread_local std::vector<size_t> counts;
  static thread_local std::vector<int64_t> visible;
  counts.resize(static_cast<size_t>(num_rows));
  visible.resize(static_cast<size_t>(num_rows));
  for (const KvSpan& span : group.shared_spans) {
    std::fill(visible.begin(), visible.end(), span.num_rows);
    AddSpan(span, args.shape, kv_head, visible, counts, tile);
  }
  for (int64_t m = 0; m < num_rows; ++m) {
    visible[static_cast<size_t>(m)] =
        group.visible[static_cast<size_t>(range.begin + m / heads - group.row_begin)];
  }
  for (const KvSpan& span : group.local_spans) {
    AddSpan(span, args.shape, kv_head, visible, counts, tile);
    for (int64_t& rows : visible) rows -= span.num_rows;
  }
  for (int64_t m = 0; m < num_rows; ++m) {
    tile.Finish(static_cast<size_t>(m), args.output.row(range.begin + m / heads) + offset(m));
  }
}

}  // namespace

void Attend(ThreadPool& pool, const AttendArgs& args) {
  const int64_t num_kv_heads = args.shape.num_kv_heads;
  const int64_t rows_per_range =
      std::max<int64_t>(1, kRowsPerTile / (args.query.shape[1] / num_kv_heads));
  static thread_local std::vector<RowRange> range_buffer;
  std::vector<RowRange>& ranges = range_buffer;  // tasks on other threads would see their own
  ranges.clear();
  for (const AttendGroup& group : args.groups) {
    for (int64_t begin = group.row_begin; begin < group.row_end; begin += rows_per_range) {
      ranges.push_back({&group, begin, std::min(begin + rows_per_range, group.row_end)});
    }
  }
  pool.ParallelFor(static_cast<int64_t>(ranges.size()) * num_kv_heads, [&](int64_t task) {
    AttendRows(args, ranges[static_cast<size_t>(task / num_kv_heads)], task % num_kv_heads);
  });
}

}  // namespace msa::kernels::cpu
