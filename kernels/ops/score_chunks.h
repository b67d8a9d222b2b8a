#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"
#include "kernels/ops/number_set.h"

namespace msa::kernels {

enum class HeadReduce { kMean, kMax };
enum class QueryReduce { kMax, kMean, kLast };
enum class ChunkReduce { kMax, kMean };

// Some documents of one shard and one MSA layer, whole documents each. Memory that somebody else
// owns.
struct KeyExtent {
  const void* keys = nullptr;  // [C, Hkv * D] router keys, bf16 or f32
  DType dtype = DType::kBF16;
  // [N + 1], chunks of document n are chunk_offsets[n] .. chunk_offsets[n + 1].
  absl::Span<const uint32_t> chunk_offsets;
  absl::Span<const uint32_t> numbers;  // [N] document numbers
  // [N] each: visible to a query of revision r iff from <= r < to.
  absl::Span<const uint64_t> from_revision;
  absl::Span<const uint64_t> to_revision;
  // The same keys in groups of quantized_keys.h, from chunk 0 on, aligned to 64 bytes; null: there
  // are none.
  const std::byte* quantized_keys = nullptr;
};

struct ScoredDocument {
  float score = 0;
  uint32_t number = 0;
  // The order of every selection: higher score first, then the lower number.
  friend bool operator<(const ScoredDocument& a, const ScoredDocument& b) {
    return a.score != b.score ? a.score > b.score : a.number < b.number;
  }
  friend bool operator==(const ScoredDocument&, const ScoredDocument&) = default;
};

// What a first pass over quantised keys came to.
struct FirstPassStats {
  int64_t rescored_documents = 0;  // whose exact keys were read after it
  int64_t fallbacks = 0;           // all exact keys had to be read after it
};

struct ScoreChunksArgs {
  // Routed rows of Q queries. kMean over heads: the head-summed query of each KV head,
  // [T, Hkv * D]; kMax: every query head, [T, Hq * D].
  TensorView<const float, 2> query;
  // [Q + 1], rows of query i; a query may have no rows and then finds nothing.
  absl::Span<const int64_t> query_offsets;
  absl::Span<const uint64_t> query_revisions;  // [Q]
  // [Q], or empty: the only documents that a query may find; null: all of them.
  absl::Span<const NumberSet* const> query_filters = {};
  HeadReduce head_reduce = HeadReduce::kMean;
  QueryReduce query_reduce = QueryReduce::kMax;
  ChunkReduce chunk_reduce = ChunkReduce::kMax;
  int64_t num_query_heads = 0;  // Hq
  int64_t num_kv_heads = 0;     // Hkv
  int64_t head_dim = 0;         // D
  float scale = 1.0f;
  // kBF16: the query is rounded to bf16 once where keys are bf16.
  ComputeDType compute = ComputeDType::kBF16;
  absl::Span<const KeyExtent> extents;
  int64_t top_k = 0;                     // k
  TensorView<ScoredDocument, 2> top;     // [Q, k], best first
  absl::Span<int64_t> num_found;         // [Q], at most k
  FirstPassStats* first_pass = nullptr;  // +=; null: nobody wants to know
};

// For every query: scores of all documents of the shard that are visible to it and in its filter,
// and the best k of them in the order of ScoredDocument. Long runs of documents that no query may
// find are passed over without reading their exact keys.
//   s[t, j] = query[t, :] . keys[j, :]  (kMean), or the maximum over heads h of
//             query[t, h] . keys[j, h / (Hq / Hkv)]  (kMax)
//   S[j]    = max, mean or last of s[t, j] over the query's rows t, added in the order of t
//   document score = scale * (max or mean of S[j] over its chunks, added in their order)
// NaN is the lowest: a maximum passes over it, and a document whose score is NaN gets -infinity.
// A document without chunks is never found.
// Where extents have quantised keys, and heads are averaged and rows and chunks reduced by their
// maximum, these are read first (key_candidates.h); the exact keys of the documents that may be
// among the best are read then, and scored as without. The result is the same, bit for bit. Queries
// that all have filters are answered from the exact keys at once.
// A document's score does not depend on the extent, the shard or the company it is scored in
// (bitwise), and scratch memory does not grow with the number of chunks: a running top-k per
// worker, merged at the end. Equal scores: the lower number.
absl::Status ScoreChunks(const OpContext& context, const ScoreChunksArgs& args);

}  // namespace msa::kernels
