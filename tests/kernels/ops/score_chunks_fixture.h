#pragma once

#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/ops/score_chunks.h"
#include "tests/kernels/ops/naive_ops.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {

inline constexpr uint64_t kForever = std::numeric_limits<uint64_t>::max();

// Documents with the memory behind their extent.
struct Bank {
  Stored keys;
  std::vector<uint32_t> chunk_offsets;
  std::vector<uint32_t> numbers;
  std::vector<uint64_t> from_revision;
  std::vector<uint64_t> to_revision;

  Bank(DType dtype, const std::vector<float>& values, std::vector<uint32_t> offsets,
       uint32_t first_number = 0)
      : keys(dtype, values), chunk_offsets(std::move(offsets)) {
    numbers.resize(chunk_offsets.size() - 1);
    std::iota(numbers.begin(), numbers.end(), first_number);
    from_revision.assign(numbers.size(), 0);
    to_revision.assign(numbers.size(), kForever);
  }

  KeyExtent extent() const {
    return {keys.data(), keys.dtype, chunk_offsets, numbers, from_revision, to_revision};
  }
  // Documents [begin, end) as an extent of their own.
  KeyExtent slice(size_t begin, size_t end, size_t key_bytes,
                  std::vector<uint32_t>& offsets) const {
    for (size_t i = begin; i <= end; ++i)
      offsets.push_back(chunk_offsets[i] - chunk_offsets[begin]);
    const auto* const data = static_cast<const std::byte*>(keys.data());
    return {data + chunk_offsets[begin] * key_bytes,
            keys.dtype,
            offsets,
            absl::MakeConstSpan(numbers).subspan(begin, end - begin),
            absl::MakeConstSpan(from_revision).subspan(begin, end - begin),
            absl::MakeConstSpan(to_revision).subspan(begin, end - begin)};
  }
};

// A filter with the memory behind it.
class Filter {
 public:
  explicit Filter(const std::vector<uint32_t>& numbers) {
    for (const uint32_t number : numbers) {
      const size_t block = number / NumberSet::kNumbersPerBlock;
      if (block >= words_.size()) words_.resize(block + 1);
      words_[block].resize(NumberSet::kWordsPerBlock);
      words_[block][number % NumberSet::kNumbersPerBlock / 64] |= uint64_t{1} << (number % 64);
    }
    for (const std::vector<uint64_t>& words : words_) {
      blocks_.push_back(words.empty() ? nullptr : words.data());
    }
    set_ = {blocks_};
  }
  Filter(const Filter&) = delete;
  const NumberSet& set() const { return set_; }

 private:
  std::vector<std::vector<uint64_t>> words_;
  std::vector<const uint64_t*> blocks_;
  NumberSet set_;
};

using Selections = std::vector<std::vector<ScoredDocument>>;

struct Query {
  std::vector<float> rows;
  std::vector<int64_t> offsets;
  std::vector<uint64_t> revisions;
  std::vector<const NumberSet*> filters = {};
};

class ScoreChunksFixture : public OpTest {
 protected:
  naive::ScoreRule rule_{HeadReduce::kMean, QueryReduce::kMax, ChunkReduce::kMax, 4, 2, 24, 1.0};
  ComputeDType compute_ = ComputeDType::kF32;
  FirstPassStats* first_pass_ = nullptr;

  int64_t Width() const { return rule_.num_kv_heads * rule_.head_dim; }
  int64_t Columns() const {
    return (rule_.head_reduce == HeadReduce::kMean ? rule_.num_kv_heads : rule_.num_query_heads) *
           rule_.head_dim;
  }

  ScoreChunksArgs Args(const Query& query, absl::Span<const KeyExtent> extents, int64_t top_k) {
    const auto num_queries = static_cast<int64_t>(query.revisions.size());
    top_.assign(static_cast<size_t>(num_queries * top_k), ScoredDocument{});
    found_.assign(query.revisions.size(), -1);
    return {.query = {query.rows.data(),
                      {static_cast<int64_t>(query.rows.size()) / Columns(), Columns()}},
            .query_offsets = query.offsets,
            .query_revisions = query.revisions,
            .query_filters = query.filters,
            .head_reduce = rule_.head_reduce,
            .query_reduce = rule_.query_reduce,
            .chunk_reduce = rule_.chunk_reduce,
            .num_query_heads = rule_.num_query_heads,
            .num_kv_heads = rule_.num_kv_heads,
            .head_dim = rule_.head_dim,
            .scale = static_cast<float>(rule_.scale),
            .compute = compute_,
            .extents = extents,
            .top_k = top_k,
            .top = {top_.data(), {num_queries, top_k}},
            .num_found = absl::MakeSpan(found_),
            .first_pass = first_pass_};
  }

  Selections Score(const OpContext& context, const Query& query,
                   absl::Span<const KeyExtent> extents, int64_t top_k) {
    const ScoreChunksArgs args = Args(query, extents, top_k);
    const absl::Status status = ScoreChunks(context, args);
    EXPECT_TRUE(status.ok()) << status;
    Selections selections;
    for (size_t q = 0; q < found_.size(); ++q) {
      const ScoredDocument* const first = top_.data() + static_cast<int64_t>(q) * top_k;
      selections.emplace_back(first, first + found_[q]);
    }
    return selections;
  }

  Query RandomQuery(const std::vector<int64_t>& rows_per_query) {
    Query query;
    query.offsets = {0};
    for (const int64_t rows : rows_per_query) query.offsets.push_back(query.offsets.back() + rows);
    query.rows = RandomBF16(query.offsets.back() * Columns());
    query.revisions.assign(rows_per_query.size(), 5);
    return query;
  }

  // Documents of 0 to 5 chunks, one of them longer than any block of keys.
  Bank RandomBank(DType dtype, int64_t num_documents) {
    std::vector<uint32_t> offsets = {0};
    for (int64_t i = 0; i < num_documents; ++i) {
      const int64_t chunks = i == num_documents / 2 ? 300 : RandomBelow(6);
      offsets.push_back(offsets.back() + static_cast<uint32_t>(chunks));
    }
    const std::vector<float> keys = RandomBF16(offsets.back() * Width(), 0.2f);
    return Bank(dtype, keys, offsets, 7);
  }

 private:
  std::vector<ScoredDocument> top_;
  std::vector<int64_t> found_;
};

}  // namespace msa::kernels
