#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "kernels/core/aligned_buffer.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/document_ranges.h"
#include "kernels/ops/document_visibility.h"
#include "kernels/ops/dot_product.h"
#include "kernels/ops/key_candidates.h"
#include "kernels/ops/max_over_rows.h"
#include "kernels/ops/row_ranges.h"
#include "kernels/ops/running_top_k.h"

// Blocks of keys are multiplied with all routed rows while they are in the cache; a block's
// products are reduced at once, rows first, then chunks into the open document. A worker's task is
// a run of whole documents, so the open document never leaves it. A block is read where it lies
// when most of it is wanted, otherwise its wanted keys are copied together first. NaN is the lowest
// score: a maximum passes over it, and a document whose score is NaN gets -infinity.
namespace msa::kernels::cpu {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

float MaxIgnoringNaN(float best, float value) { return value > best ? value : best; }

// Chunks of one document that lie side by side in a block.
struct Piece {
  size_t document;
  size_t first_chunk;
  size_t num_chunks;
  size_t column;  // of the first one, in the block's products
};

class Scorer {
 public:
  Scorer(ThreadPool& pool, const ScoreChunksArgs& args) : args_(args), visibility_(args) {
    // Extents of one shard share a dtype; should they not, each dtype gets its prepared rows.
    for (const KeyExtent& extent : args.extents) {
      if (prepared_[Index(extent.dtype)].kernel.multiply == nullptr) Prepare(pool, extent.dtype);
    }
    const auto rows = static_cast<size_t>(NumRows());
    keys_per_block_ = rows <= 6 ? 128 : std::clamp<size_t>(65536 / rows / 16 * 16, 16, 64);
  }

  int64_t num_queries() const { return static_cast<int64_t>(args_.query_offsets.size()) - 1; }

  void Score(const DocumentRange& range, std::vector<RunningTopK>& top) const;

 private:
  struct PreparedQuery {
    DotKernel kernel{};
    size_t group_bytes = 0;  // of the rows of one KV head, or of all of them with kMean over heads
    AlignedBuffer buffer;
    const std::byte* data = nullptr;
  };

  static size_t Index(DType dtype) { return static_cast<size_t>(dtype); }
  int64_t HeadsPerGroup() const { return args_.num_query_heads / args_.num_kv_heads; }
  bool PerHead() const { return args_.head_reduce == HeadReduce::kMax; }
  bool LastRowOnly() const { return args_.query_reduce == QueryReduce::kLast; }
  static size_t Q(int64_t query) { return static_cast<size_t>(query); }

  // Rows that are multiplied: all routed rows, or the last one of each query (of an empty query
  // none is read).
  int64_t NumRows() const { return LastRowOnly() ? num_queries() : args_.query.shape[0]; }
  int64_t RowBegin(int64_t query) const {
    return LastRowOnly() ? query : args_.query_offsets[Q(query)];
  }
  int64_t RowEnd(int64_t query) const {
    return LastRowOnly() ? query + 1 : args_.query_offsets[Q(query + 1)];
  }
  int64_t SourceRow(int64_t row) const {
    return LastRowOnly() ? std::max<int64_t>(0, args_.query_offsets[Q(row + 1)] - 1) : row;
  }

  void Prepare(ThreadPool& pool, DType dtype);
  size_t NextBlock(const DocumentRange& range, size_t* document, size_t* chunk,
                   std::vector<Piece>* pieces) const;
  const std::byte* KeysOf(const KeyExtent& extent, absl::Span<const Piece> pieces) const;
  void MultiplyKeys(DType dtype, const std::byte* keys, size_t num_chunks, float* row_scores) const;
  void ReduceRows(const float* row_scores, size_t num_chunks, float* chunk_scores) const;

  const ScoreChunksArgs& args_;
  const DocumentVisibility visibility_;
  PreparedQuery prepared_[2];  // by stored dtype
  size_t keys_per_block_ = 0;
};

// kMean over heads: row t. kMax: of KV head g row t and its query head h are row t * (Hq / Hkv) + h
// of D values.
void Scorer::Prepare(ThreadPool& pool, DType dtype) {
  PreparedQuery& prepared = prepared_[Index(dtype)];
  prepared.kernel = SelectDotKernel(dtype, args_.compute);
  // With f32 keys the query stays f32 in either compute dtype.
  const bool round = prepared.kernel.round_to_bf16 && dtype == DType::kBF16;
  const int64_t heads = PerHead() ? args_.num_query_heads : 1;
  const int64_t per_group = PerHead() ? HeadsPerGroup() : 1;
  const int64_t width = args_.query.shape[1] / heads;
  const int64_t num_rows = NumRows();
  const auto rows_per_group = static_cast<size_t>(num_rows * per_group);
  prepared.group_bytes = prepared.kernel.prepared_bytes(rows_per_group, static_cast<size_t>(width));
  auto* const data =
      prepared.buffer.Get<std::byte>(static_cast<size_t>(heads / per_group) * prepared.group_bytes);
  if (args_.query.shape[0] == 0) return;
  ParallelForRows(pool, num_rows, args_.query.shape[1], [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        prepared.kernel.prepare_row(
            args_.query.row(SourceRow(t)) + h * width, static_cast<size_t>(width), round,
            static_cast<size_t>(t * per_group + h % per_group), rows_per_group,
            data + static_cast<size_t>(h / per_group) * prepared.group_bytes);
      }
    }
  });
  prepared.data = data;
}

// The next wanted chunks from (document, chunk) on, which move behind them. Returns the width of
// the block: columns between pieces are not wanted but read, where that costs less than copying.
size_t Scorer::NextBlock(const DocumentRange& range, size_t* document, size_t* chunk,
                         std::vector<Piece>* pieces) const {
  const KeyExtent& extent = args_.extents[range.extent];
  pieces->clear();
  size_t total = 0,
         in_window = 0;  // wanted chunks, and those of the first keys_per_block_ in place
  while (*document < range.end_document && total < keys_per_block_) {
    const size_t end = extent.chunk_offsets[*document + 1];
    // An open document is wanted: its first chunks were.
    const bool is_open = *chunk > extent.chunk_offsets[*document];
    if (*chunk < end && (is_open || visibility_.AnyMayFind(extent, *document))) {
      const size_t count = std::min(end - *chunk, keys_per_block_ - total);
      pieces->push_back({*document, *chunk, count, total});
      total += count;
      const size_t window_end = pieces->front().first_chunk + keys_per_block_;
      if (*chunk < window_end) in_window += std::min(count, window_end - *chunk);
      *chunk += count;
      if (*chunk < end) break;
    }
    *document += 1;
    *chunk = end;
  }
  if (pieces->empty()) return 0;
  const size_t first = pieces->front().first_chunk;
  const size_t end = pieces->back().first_chunk + pieces->back().num_chunks;
  if (end - first > keys_per_block_ && 2 * in_window < keys_per_block_) return total;
  // In place: what lies beyond the window is left for the next block.
  const size_t window_end = std::min(end, first + keys_per_block_);
  while (pieces->back().first_chunk >= window_end) {
    *document = pieces->back().document;
    *chunk = pieces->back().first_chunk;
    pieces->pop_back();
  }
  Piece& last = pieces->back();
  if (last.first_chunk + last.num_chunks > window_end) {
    last.num_chunks = window_end - last.first_chunk;
    *document = last.document;
    *chunk = window_end;
  }
  for (Piece& piece : *pieces) piece.column = piece.first_chunk - first;
  return last.column + last.num_chunks;
}

// The keys of a block, column by column: where they lie, or copied together.
const std::byte* Scorer::KeysOf(const KeyExtent& extent, absl::Span<const Piece> pieces) const {
  static thread_local AlignedBuffer key_buffer;
  const size_t stride =
      static_cast<size_t>(args_.num_kv_heads * args_.head_dim) * SizeOf(extent.dtype);
  const auto* const keys = static_cast<const std::byte*>(extent.keys);
  const Piece& first = pieces.front();
  const Piece& last = pieces.back();
  if (last.first_chunk - first.first_chunk == last.column) {
    return keys + first.first_chunk * stride;
  }
  auto* const copy = key_buffer.Get<std::byte>(keys_per_block_ * stride);
  for (const Piece& piece : pieces) {
    std::memcpy(copy + piece.column * stride, keys + piece.first_chunk * stride,
                piece.num_chunks * stride);
  }
  return copy;
}

// row_scores [T, keys_per_block]: s[t, j] of score_chunks.h.
void Scorer::MultiplyKeys(DType dtype, const std::byte* keys, size_t num_chunks,
                          float* row_scores) const {
  static thread_local AlignedBuffer head_buffer;
  const PreparedQuery& prepared = prepared_[Index(dtype)];
  const auto num_rows = static_cast<size_t>(NumRows());
  const size_t element = SizeOf(dtype);
  DotBlock block;
  block.prepared = prepared.data;
  block.num_rows = num_rows;
  block.stored_stride = static_cast<size_t>(args_.num_kv_heads * args_.head_dim) * element;
  block.stored = keys;
  block.num_stored = num_chunks;
  block.k = static_cast<size_t>(args_.num_kv_heads * args_.head_dim);
  block.out = row_scores;
  block.out_stride = keys_per_block_;
  if (!PerHead()) return prepared.kernel.multiply(block);

  const auto per_group = static_cast<size_t>(HeadsPerGroup());
  float* const head_scores = head_buffer.Get<float>(num_rows * per_group * keys_per_block_);
  block.num_rows = num_rows * per_group;
  block.k = static_cast<size_t>(args_.head_dim);
  block.out = head_scores;
  std::fill_n(row_scores, num_rows * keys_per_block_, kLowest);
  for (int64_t g = 0; g < args_.num_kv_heads; ++g) {
    prepared.kernel.multiply(block);
    for (size_t row = 0; row < num_rows * per_group; ++row) {
      float* const target = row_scores + row / per_group * keys_per_block_;
      const float* const source = head_scores + row * keys_per_block_;
      for (size_t j = 0; j < num_chunks; ++j) target[j] = MaxIgnoringNaN(target[j], source[j]);
    }
    block.prepared += prepared.group_bytes;
    block.stored += static_cast<size_t>(args_.head_dim) * element;
  }
}

// chunk_scores [Q, keys_per_block]: S[j] of score_chunks.h, rows in ascending order.
void Scorer::ReduceRows(const float* row_scores, size_t num_chunks, float* chunk_scores) const {
  for (int64_t query = 0; query < num_queries(); ++query) {
    if (!visibility_.HasRows(Q(query))) continue;
    const float* const rows = row_scores + Q(RowBegin(query)) * keys_per_block_;
    const size_t num_rows = Q(RowEnd(query) - RowBegin(query));
    float* const target = chunk_scores + Q(query) * keys_per_block_;
    if (args_.query_reduce != QueryReduce::kMean) {
      MaxOverRows(rows, num_rows, keys_per_block_, num_chunks, target);
      continue;
    }
    std::fill_n(target, num_chunks, 0.0f);
    for (size_t row = 0; row < num_rows; ++row) {
      for (size_t j = 0; j < num_chunks; ++j) target[j] += rows[row * keys_per_block_ + j];
    }
    for (size_t j = 0; j < num_chunks; ++j) target[j] /= static_cast<float>(num_rows);
  }
}

void Scorer::Score(const DocumentRange& range, std::vector<RunningTopK>& top) const {
  static thread_local AlignedBuffer row_buffer;
  static thread_local AlignedBuffer chunk_buffer;
  const KeyExtent& extent = args_.extents[range.extent];
  const bool mean = args_.chunk_reduce == ChunkReduce::kMean;
  float* const row_scores = row_buffer.Get<float>(static_cast<size_t>(NumRows()) * keys_per_block_);
  float* const chunk_scores = chunk_buffer.Get<float>(Q(num_queries()) * keys_per_block_);
  // The open document's reduction per query.
  std::vector<float> open(Q(num_queries()), mean ? 0.0f : kLowest);
  const auto close = [&](size_t document) {
    const auto num_chunks =
        static_cast<float>(extent.chunk_offsets[document + 1] - extent.chunk_offsets[document]);
    for (int64_t query = 0; query < num_queries(); ++query) {
      // Adding zero makes -0 the same score as 0.
      const float score =
          args_.scale * (mean ? open[Q(query)] / num_chunks : open[Q(query)]) + 0.0f;
      const ScoredDocument scored{std::isnan(score) ? kLowest : score, extent.numbers[document]};
      RunningTopK& best = top[Q(query)];
      if (best.HasPlaceFor(scored) && visibility_.MayFind(Q(query), extent, document))
        best.Offer(scored);
      open[Q(query)] = mean ? 0.0f : kLowest;
    }
  };

  std::vector<Piece> pieces;
  size_t document = range.first_document, chunk = extent.chunk_offsets[document];
  while (const size_t width = NextBlock(range, &document, &chunk, &pieces)) {
    MultiplyKeys(extent.dtype, KeysOf(extent, pieces), width, row_scores);
    ReduceRows(row_scores, width, chunk_scores);
    for (const Piece& piece : pieces) {
      for (size_t query = 0; query < open.size(); ++query) {
        const float* const scores = chunk_scores + query * keys_per_block_ + piece.column;
        float value = open[query];
        for (size_t i = 0; i < piece.num_chunks; ++i)
          value = mean ? value + scores[i] : MaxIgnoringNaN(value, scores[i]);
        open[query] = value;
      }
      const size_t end = extent.chunk_offsets[piece.document + 1];
      if (piece.first_chunk + piece.num_chunks == end) close(piece.document);
    }
  }
}

// The best of all keys, read as they are.
void ScoreExactly(ThreadPool& pool, const ScoreChunksArgs& args) {
  const Scorer scorer(pool, args);
  const DocumentRuns runs = CutDocuments(args.extents, pool);
  const auto num_queries = static_cast<size_t>(scorer.num_queries());
  std::vector<std::vector<RunningTopK>> tops(
      runs.num_owners,
      std::vector<RunningTopK>(num_queries, RunningTopK(static_cast<size_t>(args.top_k))));
  ForEachRange(pool, runs,
               [&](size_t owner, const DocumentRange& range) { scorer.Score(range, tops[owner]); });

  std::vector<ScoredDocument> candidates;
  for (size_t query = 0; query < num_queries; ++query) {
    candidates.clear();
    for (const std::vector<RunningTopK>& top : tops) {
      candidates.insert(candidates.end(), top[query].documents().begin(),
                        top[query].documents().end());
    }
    const size_t found = std::min(candidates.size(), static_cast<size_t>(args.top_k));
    std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(found),
                      candidates.end());
    std::copy_n(candidates.begin(), found, args.top.row(static_cast<int64_t>(query)));
    args.num_found[query] = static_cast<int64_t>(found);
  }
}

// Some documents as an extent of their own.
class CopiedDocuments {
 public:
  CopiedDocuments(const ScoreChunksArgs& args, absl::Span<const DocumentPlace> places) {
    dtype_ = args.extents.front().dtype;
    const size_t key_bytes =
        static_cast<size_t>(args.num_kv_heads * args.head_dim) * SizeOf(dtype_);
    for (const DocumentPlace& place : places) {
      const KeyExtent& extent = args.extents[place.extent];
      chunk_offsets_.push_back(chunk_offsets_.back() + extent.chunk_offsets[place.document + 1] -
                               extent.chunk_offsets[place.document]);
      numbers_.push_back(extent.numbers[place.document]);
      from_revision_.push_back(extent.from_revision[place.document]);
      to_revision_.push_back(extent.to_revision[place.document]);
    }
    keys_ = buffer_.Get<std::byte>(chunk_offsets_.back() * key_bytes);
    for (size_t i = 0; i < places.size(); ++i) {
      const KeyExtent& extent = args.extents[places[i].extent];
      std::memcpy(keys_ + chunk_offsets_[i] * key_bytes,
                  static_cast<const std::byte*>(extent.keys) +
                      extent.chunk_offsets[places[i].document] * key_bytes,
                  (chunk_offsets_[i + 1] - chunk_offsets_[i]) * key_bytes);
    }
  }
  // Valid as long as the object.
  KeyExtent extent() const {
    return {keys_, dtype_, chunk_offsets_, numbers_, from_revision_, to_revision_};
  }

 private:
  DType dtype_;
  AlignedBuffer buffer_;  // not kept by the thread: it depends on what was found
  std::byte* keys_ = nullptr;
  std::vector<uint32_t> chunk_offsets_ = {0};
  std::vector<uint32_t> numbers_;
  std::vector<uint64_t> from_revision_;
  std::vector<uint64_t> to_revision_;
};

}  // namespace

void ScoreChunks(ThreadPool& pool, const ScoreChunksArgs& args) {
  if (args.query.shape[0] == 0) return;
  FirstPassStats ignored;
  FirstPassStats& stats = args.first_pass == nullptr ? ignored : *args.first_pass;
  if (!HasFirstPass(args)) return ScoreExactly(pool, args);
  const std::optional<std::vector<DocumentPlace>> places = FindCandidates(pool, args);
  if (!places) {
    stats.fallbacks += 1;
    return ScoreExactly(pool, args);
  }
  stats.rescored_documents += static_cast<int64_t>(places->size());
  const CopiedDocuments documents(args, *places);
  const KeyExtent extent = documents.extent();
  ScoreChunksArgs rest = args;
  rest.extents = absl::MakeConstSpan(&extent, 1);
  ScoreExactly(pool, rest);
}

}  // namespace msa::kernels::cpu
