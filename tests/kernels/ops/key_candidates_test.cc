// ScoreChunks with quantised keys must be ScoreChunks without them, bit for bit. A short form runs
// always; MSA_LONG_TESTS=1 compares 100,000 queries on every level.
#include "kernels/ops/key_candidates.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <limits>

#include "kernels/core/aligned_buffer.h"
#include "kernels/ops/quantized_keys.h"
#include "tests/kernels/ops/score_chunks_fixture.h"

namespace msa::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class KeyCandidatesTest : public ScoreChunksFixture {
 protected:
  KeyCandidatesTest() { compute_ = ComputeDType::kBF16; }

  KeyExtent WithQuantizedKeys(KeyExtent extent) {
    AlignedBuffer& buffer = buffers_.emplace_back();
    const int64_t num_chunks = extent.chunk_offsets.back();
    auto* const groups =
        buffer.Get<std::byte>(static_cast<size_t>(QuantizedKeyBytes(num_chunks, Width())));
    QuantizeKeys(extent.keys, extent.dtype, Width(), 0, num_chunks, groups);
    extent.quantized_keys = groups;
    return extent;
  }
  // The bank cut into extents of random sizes, with quantised keys.
  std::vector<KeyExtent> Cut(const Bank& bank, std::vector<std::vector<uint32_t>>* offsets) {
    std::vector<KeyExtent> extents;
    const size_t key_bytes = static_cast<size_t>(Width()) * SizeOf(bank.keys.dtype);
    offsets->reserve(bank.numbers.size());
    for (size_t begin = 0; begin < bank.numbers.size();) {
      const size_t end =
          std::min(bank.numbers.size(), begin + static_cast<size_t>(1 + RandomBelow(400)));
      extents.push_back(
          WithQuantizedKeys(bank.slice(begin, end, key_bytes, offsets->emplace_back())));
      begin = end;
    }
    return extents;
  }
  FirstPassStats ScoreWithFirstPass(const OpContext& context, const Query& query,
                                    absl::Span<const KeyExtent> extents, int64_t top_k,
                                    Selections* selections) {
    FirstPassStats stats;
    first_pass_ = &stats;
    *selections = Score(context, query, extents, top_k);
    first_pass_ = nullptr;
    return stats;
  }

  // Keys that are hard to tell apart: random ones, ones that equal others (ties), ones that differ
  // from others in one bit of one dimension, zeros, very small and large ones.
  Bank HardBank(DType dtype, int64_t num_documents) {
    std::vector<uint32_t> offsets = {0};
    for (int64_t i = 0; i < num_documents; ++i) {
      offsets.push_back(offsets.back() + static_cast<uint32_t>(RandomBelow(4)));
    }
    const auto width = static_cast<size_t>(Width());
    std::vector<float> keys = RandomBF16(offsets.back() * Width());
    for (size_t chunk = 1; chunk < offsets.back(); ++chunk) {
      float* const key = keys.data() + chunk * width;
      const int64_t kind = RandomBelow(12);
      if (kind < 3) {  // a copy, perhaps with one bit changed
        std::copy_n(
            keys.data() + static_cast<size_t>(RandomBelow(static_cast<int64_t>(chunk))) * width,
            width, key);
        float& value = key[static_cast<size_t>(RandomBelow(Width()))];
        if (kind > 0) {
          value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ uint32_t{0x10000});
        }
      } else if (kind == 3) {
        const float factors[] = {0.0f, 1e-30f, 1e-12f, 30.0f};
        const float factor = factors[RandomBelow(4)];
        for (size_t i = 0; i < width; ++i) key[i] *= factor;
      } else if (kind == 4) {
        for (size_t i = 0; i < width; ++i) key[i] = key[i] > 0 ? 1.0f : -1.0f;
      }
    }
    Bank bank(dtype, keys, offsets, 3);
    for (size_t d = 0; d < bank.numbers.size(); ++d) {
      if (RandomBelow(4) > 0) continue;
      bank.from_revision[d] = static_cast<uint64_t>(RandomBelow(8));
      bank.to_revision[d] = bank.from_revision[d] + static_cast<uint64_t>(RandomBelow(8));
    }
    return bank;
  }

 private:
  std::deque<AlignedBuffer> buffers_;
};

TEST_P(KeyCandidatesTest, SelectionsEqualThoseOfTheExactScanBitwise) {
  const int64_t num_queries = std::getenv("MSA_LONG_TESTS") != nullptr ? 100000 : 1500;
  int64_t rescored = 0, documents = 0, fallbacks = 0;
  for (int64_t asked = 0; asked < num_queries;) {
    const int64_t widths[] = {3, 16, 64, 128};
    rule_ = {HeadReduce::kMean,
             QueryReduce::kMax,
             ChunkReduce::kMax,
             4,
             1,
             widths[RandomBelow(4)],
             0.25};
    const DType dtype = RandomBelow(3) == 0 ? DType::kF32 : DType::kBF16;
    compute_ = RandomBelow(3) == 0 ? ComputeDType::kF32 : ComputeDType::kBF16;
    const Bank bank = HardBank(dtype, 200 + RandomBelow(1500));
    std::vector<std::vector<uint32_t>> offsets;
    const std::vector<KeyExtent> extents = Cut(bank, &offsets);
    const KeyExtent whole = bank.extent();
    const Filter filter({3, 4, 5, 17, 18, 100, 131, 150});
    for (int64_t i = 0; i < 25; ++i) {
      Query query = RandomQuery({1 + RandomBelow(5), RandomBelow(3), 1 + RandomBelow(20)});
      for (float& value : query.rows) {
        if (RandomBelow(40) == 0) value *= 50;
      }
      if (RandomBelow(3) == 0) {  // a key of the bank as a query: exact ties at the top
        const auto rows = query.rows.size() / static_cast<size_t>(Width());
        for (size_t d = 0; d < static_cast<size_t>(Width()); ++d) {
          query.rows[(rows - 1) * static_cast<size_t>(Width()) + d] =
              dtype == DType::kF32 ? bank.keys.f32[d] : ToF32(bank.keys.bf16[d]);
        }
      }
      query.revisions = {5, 5, static_cast<uint64_t>(RandomBelow(9))};
      if (RandomBelow(3) == 0) query.filters = {&filter.set(), nullptr, nullptr};
      const int64_t top_k = 1 + RandomBelow(16);
      Selections selections;
      const FirstPassStats stats =
          ScoreWithFirstPass(context(), query, extents, top_k, &selections);
      ASSERT_EQ(selections, Score(context(), query, {&whole, 1}, top_k))
          << "width " << Width() << ", " << bank.numbers.size() << " documents";
      rescored += stats.rescored_documents;
      fallbacks += stats.fallbacks;
      if (stats.rescored_documents > 0) documents += static_cast<int64_t>(bank.numbers.size());
      asked += 3;
    }
  }
  // Else nothing was proved but that exact scans agree.
  EXPECT_GT(documents, 0);
  EXPECT_LT(rescored, documents / 4);
  RecordProperty("rescored_per_mille", std::to_string(1000 * rescored / documents));
  RecordProperty("fallbacks", std::to_string(fallbacks));
}

// Keys that share a signal of few dimensions, as learned ones do, with noise in all.
TEST_P(KeyCandidatesTest, ReadsFewExactKeysOfManyDocuments) {
  rule_ = {HeadReduce::kMean, QueryReduce::kMax, ChunkReduce::kMax, 4, 4, 64, 1.0};
  constexpr size_t kDocuments = 4000, kSignal = 24;
  std::vector<uint32_t> offsets(kDocuments + 1);
  std::iota(offsets.begin(), offsets.end(), 0u);
  std::vector<float> keys = Random(static_cast<int64_t>(kDocuments) * Width());
  Query query = RandomQuery({16});
  for (std::vector<float>* rows : {&keys, &query.rows}) {
    for (size_t i = 0; i < rows->size(); ++i) {
      if (i % static_cast<size_t>(Width()) >= kSignal) (*rows)[i] *= 0.2f;
    }
  }
  const Bank bank(DType::kBF16, keys, offsets);
  const KeyExtent extent = WithQuantizedKeys(bank.extent());
  Selections selections;
  const FirstPassStats stats = ScoreWithFirstPass(context(), query, {&extent, 1}, 16, &selections);
  EXPECT_EQ(stats.fallbacks, 0);
  EXPECT_GE(stats.rescored_documents, 16);
  EXPECT_LE(stats.rescored_documents, 160);
}

TEST_P(KeyCandidatesTest, TheSameCandidatesWithAnyThreadsAndExtents) {
  const Bank bank = HardBank(DType::kBF16, 3000);
  std::vector<std::vector<uint32_t>> offsets;
  const std::vector<KeyExtent> extents = Cut(bank, &offsets);
  const KeyExtent whole = WithQuantizedKeys(bank.extent());
  const Query query = RandomQuery({4, 9});
  Selections a, b, c;
  const FirstPassStats first = ScoreWithFirstPass(context(), query, extents, 10, &a);
  const FirstPassStats second = ScoreWithFirstPass(one_thread(), query, extents, 10, &b);
  const FirstPassStats third = ScoreWithFirstPass(context(), query, {&whole, 1}, 10, &c);
  EXPECT_EQ(first.rescored_documents, second.rescored_documents);
  EXPECT_EQ(first.rescored_documents, third.rescored_documents);
  EXPECT_EQ(a, b);
  EXPECT_EQ(a, c);
}

// Every document is as good as the best: the proof rules none out, and the exact keys are read.
TEST_P(KeyCandidatesTest, FallsBackWhereTooManyDocumentsRemain) {
  const auto width = static_cast<size_t>(Width());
  for (const size_t num_documents : {size_t{1000}, size_t{60000}}) {
    std::vector<uint32_t> offsets(num_documents + 1);
    std::iota(offsets.begin(), offsets.end(), 0u);
    const std::vector<float> key = RandomBF16(Width());
    std::vector<float> keys;
    for (size_t i = 0; i < num_documents; ++i) keys.insert(keys.end(), key.begin(), key.end());
    Bank bank(DType::kBF16, keys, offsets);
    std::reverse(bank.numbers.begin(), bank.numbers.end());
    const KeyExtent extent = WithQuantizedKeys(bank.extent());
    const KeyExtent exact = bank.extent();
    const Query query{RandomBF16(static_cast<int64_t>(width)), {0, 1}, {0}};
    Selections selections;
    const FirstPassStats stats = ScoreWithFirstPass(context(), query, {&extent, 1}, 3, &selections);
    EXPECT_EQ(stats.fallbacks, 1);
    EXPECT_EQ(stats.rescored_documents, 0);
    EXPECT_EQ(selections, Score(context(), query, {&exact, 1}, 3));
    EXPECT_EQ(selections[0][0].number, 0u);
  }
}

TEST_P(KeyCandidatesTest, ValuesThatAreNotFiniteAreScoredAsWithout) {
  Bank bank = HardBank(DType::kF32, 600);
  const auto width = static_cast<size_t>(Width());
  for (size_t i = 0; i < 10; ++i) {
    const float values[] = {std::nanf(""), kInfinity, -kInfinity, 1e30f, -1e20f};
    bank.keys.f32[(7 * i + 1) * width + i] = values[i % 5];
  }
  const KeyExtent exact = bank.extent();
  const KeyExtent extent = WithQuantizedKeys(exact);
  Query query = RandomQuery({3});
  Selections selections;
  const FirstPassStats stats = ScoreWithFirstPass(context(), query, {&extent, 1}, 16, &selections);
  EXPECT_EQ(selections, Score(context(), query, {&exact, 1}, 16));
  EXPECT_GT(stats.rescored_documents, 0);
  query.rows[1] = std::nanf("");
  EXPECT_EQ(ScoreWithFirstPass(context(), query, {&extent, 1}, 16, &selections).fallbacks, 1);
  EXPECT_EQ(selections, Score(context(), query, {&exact, 1}, 16));
}

// Scores that a scale takes beyond f32 are all equal, so that numbers decide: no bound may have
// ruled the lowest out before.
TEST_P(KeyCandidatesTest, ScoresThatTheScaleMakesInfiniteAreScoredAsWithout) {
  for (const double scale : {1e3, 1e6}) {
    rule_ = {HeadReduce::kMean, QueryReduce::kMax, ChunkReduce::kMax, 1, 1, 1024, scale};
    std::vector<uint32_t> offsets(101);
    std::iota(offsets.begin(), offsets.end(), 0u);
    std::vector<float> keys(100 * 1024, 1.0f);
    std::fill_n(keys.begin(), 1024, 0.9e15f);
    std::fill_n(keys.begin() + 5 * 1024, 1024, 1e15f);
    const Bank bank(DType::kF32, keys, offsets);
    const KeyExtent exact = bank.extent();
    const KeyExtent extent = WithQuantizedKeys(exact);
    const Query query{std::vector<float>(1024, 1e15f), {0, 1}, {0}};
    Selections selections;
    ScoreWithFirstPass(context(), query, {&extent, 1}, 1, &selections);
    EXPECT_EQ(selections, Score(context(), query, {&exact, 1}, 1)) << scale;
    EXPECT_EQ(selections[0][0].number, scale > 1e3 ? 0u : 5u);
  }
}

TEST_P(KeyCandidatesTest, OtherReductionsAndFiltersOnAllQueriesReadTheExactKeys) {
  const Bank bank = HardBank(DType::kBF16, 600);
  const KeyExtent exact = bank.extent();
  const KeyExtent extent = WithQuantizedKeys(exact);
  const Filter filter({3, 4, 9, 90, 200});
  for (const int variant : {0, 1, 2, 3}) {
    rule_.head_reduce = variant == 0 ? HeadReduce::kMax : HeadReduce::kMean;
    rule_.query_reduce = variant == 1 ? QueryReduce::kMean : QueryReduce::kMax;
    rule_.chunk_reduce = variant == 2 ? ChunkReduce::kMean : ChunkReduce::kMax;
    Query query = RandomQuery({3, 2});
    if (variant == 3) query.filters = {&filter.set(), &filter.set()};
    Selections selections;
    const FirstPassStats stats = ScoreWithFirstPass(context(), query, {&extent, 1}, 4, &selections);
    EXPECT_EQ(stats.rescored_documents + stats.fallbacks, 0);
    EXPECT_EQ(selections, Score(context(), query, {&exact, 1}, 4));
  }
}

TEST_P(KeyCandidatesTest, RefusesKeysThatAreNotAligned) {
  const Bank bank = HardBank(DType::kBF16, 10);
  KeyExtent extent = WithQuantizedKeys(bank.extent());
  extent.quantized_keys += 4;
  ExpectInvalid(ScoreChunks(context(), Args(RandomQuery({1}), {&extent, 1}, 1)),
                "quantized keys are not aligned to 64 bytes");
}

MSA_ON_EVERY_LEVEL(KeyCandidatesTest);

}  // namespace
}  // namespace msa::kernels
