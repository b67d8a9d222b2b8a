#include "kernels/ops/score_chunks.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "tests/kernels/ops/score_chunks_fixture.h"

namespace msa::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
class ScoreChunksTest : public ScoreChunksFixture {
 protected:
  void ExpectNaiveScores(const Query& query, const Bank& bank, const std::vector<float>& keys) {
    const auto all = static_cast<int64_t>(bank.numbers.size());
    const KeyExtent extent = bank.extent();
    const Selections selections = Score(context(), query, {&extent, 1}, all);
    for (size_t q = 0; q < selections.size(); ++q) {
      const auto begin = query.rows.begin() + query.offsets[q] * Columns();
      const auto end = query.rows.begin() + query.offsets[q + 1] * Columns();
      const naive::Doubles rows(begin, end);
      size_t expected_found = 0;
      std::vector<double> expected(bank.numbers.size());
      for (size_t d = 0; d < bank.numbers.size() && !rows.empty(); ++d) {
        if (bank.chunk_offsets[d] == bank.chunk_offsets[d + 1]) continue;
        ++expected_found;
        const naive::Doubles document(keys.begin() + bank.chunk_offsets[d] * Width(),
                                      keys.begin() + bank.chunk_offsets[d + 1] * Width());
        expected[d] = naive::DocumentScore(rule_, rows, document);
      }
      ASSERT_EQ(selections[q].size(), expected_found);
      for (const ScoredDocument& document : selections[q]) {
        ASSERT_NEAR(document.score, expected[document.number - bank.numbers[0]], 2e-5);
      }
      ASSERT_TRUE(std::is_sorted(selections[q].begin(), selections[q].end()));
    }
  }
};

TEST_P(ScoreChunksTest, ScoresTheHandWorkedCase) {
  rule_ = {HeadReduce::kMean, QueryReduce::kMax, ChunkReduce::kMax, 1, 1, 2, 2.0};
  const Query query{{1, 0, 0, 1}, {0, 2}, {0}};  // two rows
  // Document 3: chunks (1, 2) and (0, 5); document 4: chunk (3, -1).
  const Bank bank(DType::kBF16, {1, 2, 0, 5, 3, -1}, {0, 2, 3}, 3);
  const KeyExtent extent = bank.extent();
  EXPECT_EQ(Score(context(), query, {&extent, 1}, 2), (Selections{{{10, 3}, {6, 4}}}));
  rule_.query_reduce = QueryReduce::kLast;
  EXPECT_EQ(Score(context(), query, {&extent, 1}, 2), (Selections{{{10, 3}, {-2, 4}}}));
  rule_.query_reduce = QueryReduce::kMean;
  EXPECT_EQ(Score(context(), query, {&extent, 1}, 2), (Selections{{{5, 3}, {2, 4}}}));
  rule_.chunk_reduce = ChunkReduce::kMean;
  EXPECT_EQ(Score(context(), query, {&extent, 1}, 2), (Selections{{{4, 3}, {2, 4}}}));
}

TEST_P(ScoreChunksTest, TheHeadMaximumTakesTheBestHeadOfEachGroup) {
  rule_ = {HeadReduce::kMax, QueryReduce::kMax, ChunkReduce::kMax, 4, 2, 1, 1.0};
  // Heads 0 and 1 read KV head 0, heads 2 and 3 read KV head 1.
  const Query query{{1, -1, 2, 0.5f}, {0, 1}, {0}};
  const Bank bank(DType::kF32, {-3, 1, 0, -4}, {0, 1, 2});
  const KeyExtent extent = bank.extent();
  EXPECT_EQ(Score(context(), query, {&extent, 1}, 2), (Selections{{{3, 0}, {0, 1}}}));
}

TEST_P(ScoreChunksTest, EqualsTheNaiveTwinForEveryReduction) {
  for (const HeadReduce head_reduce : {HeadReduce::kMean, HeadReduce::kMax}) {
    for (const QueryReduce query_reduce :
         {QueryReduce::kMax, QueryReduce::kMean, QueryReduce::kLast}) {
      for (const ChunkReduce chunk_reduce : {ChunkReduce::kMax, ChunkReduce::kMean}) {
        for (const DType dtype : {DType::kF32, DType::kBF16}) {
          for (const ComputeDType compute : {ComputeDType::kF32, ComputeDType::kBF16}) {
            rule_ = {head_reduce, query_reduce, chunk_reduce, 6, 2, 17, 0.25};
            // Queries are exact in bf16 here, so that both compute dtypes have one expectation.
            compute_ = compute;
            const Bank bank = RandomBank(dtype, 60);
            const std::vector<float> keys = [&] {
              if (dtype == DType::kF32) return bank.keys.f32;
              std::vector<float> widened;
              for (const BF16 value : bank.keys.bf16) widened.push_back(ToF32(value));
              return widened;
            }();
            ExpectNaiveScores(RandomQuery({3, 0, 1, 9}), bank, keys);
          }
        }
      }
    }
  }
}

TEST_P(ScoreChunksTest, ManyRowsShareOnePass) {
  compute_ = ComputeDType::kBF16;
  const Bank bank = RandomBank(DType::kBF16, 40);
  std::vector<float> keys;
  for (const BF16 value : bank.keys.bf16) keys.push_back(ToF32(value));
  ExpectNaiveScores(RandomQuery({400, 1, 48}), bank, keys);
}

TEST_P(ScoreChunksTest, KBf16RoundsTheQueryOnceWhereKeysAreBf16Only) {
  rule_ = {HeadReduce::kMean, QueryReduce::kMax, ChunkReduce::kMax, 1, 1, 1, 1.0};
  compute_ = ComputeDType::kBF16;
  const Query query{{1.0f + 0x1p-10f}, {0, 1}, {0}};
  const Bank narrow(DType::kBF16, {1}, {0, 1});
  const Bank wide(DType::kF32, {1}, {0, 1});
  const KeyExtent narrow_extent = narrow.extent();
  const KeyExtent wide_extent = wide.extent();
  EXPECT_EQ(Score(context(), query, {&narrow_extent, 1}, 1)[0][0].score, 1.0f);
  EXPECT_EQ(Score(context(), query, {&wide_extent, 1}, 1)[0][0].score, 1.0f + 0x1p-10f);
}

TEST_P(ScoreChunksTest, ASelectionDoesNotDependOnExtentsThreadsOrCompanyBitwise) {
  for (const HeadReduce head_reduce : {HeadReduce::kMean, HeadReduce::kMax}) {
    for (const ChunkReduce chunk_reduce : {ChunkReduce::kMax, ChunkReduce::kMean}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        rule_ = {head_reduce, QueryReduce::kMean, chunk_reduce, 4, 2, 20, 0.5};
        compute_ = ComputeDType::kBF16;
        const Bank bank = RandomBank(dtype, 150);
        Query query = RandomQuery({13, 2, 31});
        query.rows = Random(static_cast<int64_t>(query.rows.size()));
        const KeyExtent extent = bank.extent();
        const Selections whole = Score(context(), query, {&extent, 1}, 150);
        EXPECT_EQ(Score(one_thread(), query, {&extent, 1}, 150), whole);

        const size_t cuts[] = {0, 1, 2, 60, 61, 75, 76, 149, 150};
        std::vector<std::vector<uint32_t>> offsets(std::size(cuts) - 1);
        std::vector<KeyExtent> extents;
        const size_t key_bytes = static_cast<size_t>(Width()) * SizeOf(dtype);
        for (size_t i = 0; i + 1 < std::size(cuts); ++i) {
          extents.push_back(bank.slice(cuts[i], cuts[i + 1], key_bytes, offsets[i]));
        }
        EXPECT_EQ(Score(context(), query, extents, 150), whole);

        for (size_t q = 0; q < query.revisions.size(); ++q) {
          const auto begin = query.rows.begin() + query.offsets[q] * Columns();
          const auto end = query.rows.begin() + query.offsets[q + 1] * Columns();
          const Query alone{
              {begin, end}, {0, query.offsets[q + 1] - query.offsets[q]}, {query.revisions[q]}};
          EXPECT_EQ(Score(context(), alone, {&extent, 1}, 150)[0], whole[q]);
        }
        const Selections few = Score(context(), query, {&extent, 1}, 5);
        for (size_t q = 0; q < few.size(); ++q) {
          EXPECT_EQ(few[q], std::vector<ScoredDocument>(whole[q].begin(), whole[q].begin() + 5));
        }
      }
    }
  }
}

TEST_P(ScoreChunksTest, EqualScoresGoToTheLowerNumber) {
  rule_ = {HeadReduce::kMean, QueryReduce::kMax, ChunkReduce::kMax, 1, 1, 1, 1.0};
  const int64_t num_documents = 1000;
  std::vector<uint32_t> offsets(num_documents + 1);
  std::iota(offsets.begin(), offsets.end(), 0u);
  Bank bank(DType::kBF16, std::vector<float>(num_documents, 1.0f), offsets);
  std::reverse(bank.numbers.begin(), bank.numbers.end());
  const KeyExtent extent = bank.extent();
  EXPECT_EQ(Score(context(), {{1}, {0, 1}, {0}}, {&extent, 1}, 3),
            (Selections{{{1, 0}, {1, 1}, {1, 2}}}));
}

TEST_P(ScoreChunksTest, MinusZeroEqualsZero) {
  rule_ = {HeadReduce::kMean, QueryReduce::kMax, ChunkReduce::kMax, 1, 1, 1, 1.0};
  const Bank bank(DType::kF32, {-1e-30f, 1e-30f, 0.0f}, {0, 1, 2, 3});
  const KeyExtent extent = bank.extent();
  const Selections selections = Score(context(), {{1e-30f}, {0, 1}, {0}}, {&extent, 1}, 3);
  for (const ScoredDocument& document : selections[0]) EXPECT_FALSE(std::signbit(document.score));
  EXPECT_EQ(selections[0][0].number, 0u);
}

TEST_P(ScoreChunksTest, AQuerySeesTheDocumentsOfItsRevision) {
  rule_ = {HeadReduce::kMean, QueryReduce::kMax, ChunkReduce::kMax, 1, 1, 1, 1.0};
  Bank bank(DType::kBF16, {1, 2, 3}, {0, 1, 2, 3});
  bank.from_revision = {0, 2, 4};
  bank.to_revision = {kForever, 4, kForever};
  const KeyExtent extent = bank.extent();
  const Query query{{1, 1, 1, 1}, {0, 1, 2, 3, 4}, {1, 2, 3, 4}};
  EXPECT_EQ(Score(context(), query, {&extent, 1}, 3),
            (Selections{{{1, 0}}, {{2, 1}, {1, 0}}, {{2, 1}, {1, 0}}, {{3, 2}, {1, 0}}}));
}

TEST_P(ScoreChunksTest, AFilterNarrowsTheCandidatesBeforeTheTopK) {
  rule_ = {HeadReduce::kMean, QueryReduce::kMax, ChunkReduce::kMax, 1, 1, 1, 1.0};
  const Bank bank(DType::kBF16, {1, 2, 3, 4}, {0, 1, 2, 3, 4}, 65534);
  const KeyExtent extent = bank.extent();
  const Filter odd({65535, 65537}), none({}), others({1, 2, 3, 70000});
  Query query{{1, 1, 1, 1}, {0, 1, 2, 3, 4}, {0, 0, 0, 0}};
  query.filters = {&odd.set(), nullptr, &none.set(), &others.set()};
  EXPECT_EQ(Score(context(), query, {&extent, 1}, 2),
            (Selections{{{4, 65537}, {2, 65535}}, {{4, 65537}, {3, 65536}}, {}, {}}));
}

// Documents that no query may find are passed over in runs, copied around or scored for nothing;
// the rest must come out as if nothing were filtered.
TEST_P(ScoreChunksTest, AFilteredSelectionIsTheFilteredWholeBitwise) {
  for (const ChunkReduce chunk_reduce : {ChunkReduce::kMax, ChunkReduce::kMean}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      rule_ = {HeadReduce::kMean, QueryReduce::kMean, chunk_reduce, 4, 2, 20, 0.5};
      compute_ = ComputeDType::kBF16;
      Bank bank = RandomBank(dtype, 1500);
      const KeyExtent extent = bank.extent();
      Query query = RandomQuery({3, 1, 2});
      query.rows = Random(static_cast<int64_t>(query.rows.size()));
      const Selections whole = Score(context(), query, {&extent, 1}, 1500);
      for (size_t d = 0; d < bank.numbers.size(); ++d) {
        bank.from_revision[d] = static_cast<uint64_t>(RandomBelow(8));
        bank.to_revision[d] = bank.from_revision[d] + static_cast<uint64_t>(RandomBelow(6));
      }
      for (const int64_t percent : {0, 1, 10, 50, 90, 100}) {
        for (const int64_t run : {1, 40}) {  // documents side by side that go together
          std::vector<uint32_t> numbers;
          for (size_t d = 0; d < bank.numbers.size();) {
            const bool is_in = RandomBelow(100) < percent;
            for (int64_t i = 0; i < run && d < bank.numbers.size(); ++i, ++d) {
              if (is_in) numbers.push_back(bank.numbers[d]);
            }
          }
          const Filter filter(numbers);
          for (const bool all_filtered : {true, false}) {
            query.filters = {&filter.set(), all_filtered ? &filter.set() : nullptr, &filter.set()};
            query.revisions = {5, 5, 7};
            Selections expected(3);
            for (size_t q = 0; q < 3; ++q) {
              for (const ScoredDocument& document : whole[q]) {
                const size_t d = document.number - bank.numbers[0];
                const bool visible = bank.from_revision[d] <= query.revisions[q] &&
                                     query.revisions[q] < bank.to_revision[d];
                const bool in =
                    query.filters[q] == nullptr || filter.set().Contains(document.number);
                if (visible && in && expected[q].size() < 30) expected[q].push_back(document);
              }
            }
            ASSERT_EQ(Score(context(), query, {&extent, 1}, 30), expected)
                << percent << "% in runs of " << run;
          }
        }
      }
    }
  }
}

TEST_P(ScoreChunksTest, NaNIsTheLowestScore) {
  rule_ = {HeadReduce::kMean, QueryReduce::kMax, ChunkReduce::kMax, 1, 1, 1, 1.0};
  const Bank bank(DType::kF32, {std::nanf(""), -5, std::nanf(""), -7, kInfinity}, {0, 1, 2, 4, 5});
  const KeyExtent extent = bank.extent();
  const Query query{{1}, {0, 1}, {0}};
  EXPECT_EQ(Score(context(), query, {&extent, 1}, 4),
            (Selections{{{kInfinity, 3}, {-5, 1}, {-7, 2}, {-kInfinity, 0}}}));
  rule_.chunk_reduce = ChunkReduce::kMean;
  EXPECT_EQ(Score(context(), query, {&extent, 1}, 4),
            (Selections{{{kInfinity, 3}, {-5, 1}, {-kInfinity, 0}, {-kInfinity, 2}}}));
}

TEST_P(ScoreChunksTest, NothingToFindIsNotAnError) {
  const Bank empty(DType::kBF16, {}, {0});
  const Bank no_chunks(DType::kBF16, {}, {0, 0, 0});
  const KeyExtent extents[] = {empty.extent(), no_chunks.extent()};
  const Query query = RandomQuery({2, 0});
  EXPECT_EQ(Score(context(), query, {}, 4), (Selections{{}, {}}));
  EXPECT_EQ(Score(context(), query, extents, 4), (Selections{{}, {}}));
  EXPECT_EQ(Score(context(), Query{{}, {0}, {}}, extents, 4), Selections{});
  EXPECT_EQ(Score(context(), Query{{}, {0, 0}, {1}}, extents, 4), (Selections{{}}));
  const Bank bank = RandomBank(DType::kBF16, 5);
  const KeyExtent extent = bank.extent();
  EXPECT_EQ(Score(context(), query, {&extent, 1}, 0), (Selections{{}, {}}));
}

TEST_P(ScoreChunksTest, RefusesArgumentsThatDoNotFit) {
  const Bank bank = RandomBank(DType::kBF16, 5);
  KeyExtent extent = bank.extent();
  const Query query = RandomQuery({2, 1});
  const auto status_of = [&](auto change) {
    ScoreChunksArgs args = Args(query, {&extent, 1}, 3);
    change(args);
    const absl::Status status = ScoreChunks(context(), args);
    extent = bank.extent();
    return status;
  };
  ASSERT_TRUE(status_of([](ScoreChunksArgs&) {}).ok());
  ExpectInvalid(status_of([](auto& args) { args.num_kv_heads = 3; }), "4 query heads, 3 KV heads");
  ExpectInvalid(status_of([](auto& args) { args.head_dim = 23; }), "must have 46 columns");
  ExpectInvalid(status_of([](auto& args) { args.query_offsets = {}; }),
                "query_offsets must begin with 0");
  const int64_t descending[] = {0, 4, 3};
  ExpectInvalid(status_of([&](auto& args) { args.query_offsets = descending; }),
                "query_offsets descends from 4 to 3");
  const int64_t short_of[] = {0, 1, 2};
  ExpectInvalid(status_of([&](auto& args) { args.query_offsets = short_of; }),
                "ends with 2, not with the number of rows 3");
  ExpectInvalid(status_of([](auto& args) { args.top_k = 4; }), "2 queries and top_k 4");
  ExpectInvalid(status_of([](auto& args) { args.num_found = args.num_found.subspan(1); }),
                "1 num_found");
  const NumberSet* const one_filter[] = {nullptr};
  ExpectInvalid(status_of([&](auto& args) { args.query_filters = one_filter; }), "1 filters");
  ExpectInvalid(status_of([](auto& args) { args.scale = kInfinity; }), "scale is inf");
  ExpectInvalid(status_of([&](auto&) { extent.dtype = DType::kF16; }), "keys is f16");
  ExpectInvalid(status_of([&](auto&) { extent.keys = nullptr; }), "an extent has no keys");
  ExpectInvalid(status_of([&](auto&) { extent.numbers = extent.numbers.subspan(1); }),
                "an extent of 4 numbers");
  ExpectNoCudaPath(ScoreChunks({DeviceKind::kCuda, nullptr}, Args(query, {&extent, 1}, 3)),
                   "ScoreChunks");
}

MSA_ON_EVERY_LEVEL(ScoreChunksTest);

}  // namespace
}  // namespace msa::kernels
