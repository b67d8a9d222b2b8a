#include "engine/text/byte_pair_encoder.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using Merge = BytePairEncoder::Merge;

std::array<int32_t, 256> BytesAsIds() {
  std::array<int32_t, 256> ids{};
  for (int32_t byte = 0; byte < 256; ++byte) ids[static_cast<size_t>(byte)] = byte;
  return ids;
}

std::vector<int32_t> Encode(const BytePairEncoder& encoder, std::vector<std::string_view> pieces) {
  std::vector<int32_t> ids;
  encoder.Encode(pieces, &ids);
  return ids;
}

// The definition, quadratic: look for the lowest rank, merge its leftmost pair, begin again.
std::vector<int32_t> EncodeNaively(const std::vector<Merge>& merges, std::string_view piece) {
  std::vector<int32_t> ids;
  for (const char byte : piece) ids.push_back(static_cast<uint8_t>(byte));
  for (;;) {
    size_t best_rank = merges.size();
    size_t best = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank].left != ids[i] || merges[rank].right != ids[i + 1]) continue;
        best_rank = rank;
        best = i;
      }
    }
    if (best_rank == merges.size()) return ids;
    ids[best] = merges[best_rank].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(BytePairEncoder, LowestRankMergesFirstThenLeftmost) {
  const BytePairEncoder encoder(BytesAsIds(), {{'b', 'c', 256}, {'a', 'b', 257}, {'a', 'a', 258}},
                                {});
  EXPECT_THAT(Encode(encoder, {"abc"}), ElementsAre('a', 256));
  EXPECT_THAT(Encode(encoder, {"abab"}), ElementsAre(257, 257));
  EXPECT_THAT(Encode(encoder, {"aaa"}), ElementsAre(258, 'a'));
  EXPECT_THAT(Encode(encoder, {"x", "", "bc", "abc", "bc"}), ElementsAre('x', 256, 'a', 256, 256));
}

TEST(BytePairEncoder, PiecesDoNotMergeWithEachOther) {
  const BytePairEncoder encoder(BytesAsIds(), {{'a', 'b', 256}}, {});
  EXPECT_THAT(Encode(encoder, {"a", "b", "ab"}), ElementsAre('a', 'b', 256));
}

TEST(BytePairEncoder, WholePiecesComeBeforeMerges) {
  const BytePairEncoder encoder(BytesAsIds(), {{'a', 'b', 256}}, {{"abc", 300}});
  EXPECT_THAT(Encode(encoder, {"abc", "abcd"}), ElementsAre(300, 256, 'c', 'd'));
}

TEST(BytePairEncoder, RandomMergesAreAsTheDefinitionSays) {
  std::mt19937 random(11);
  for (int round = 0; round < 60; ++round) {
    const size_t alphabet = 1 + random() % 4;
    std::vector<int32_t> tokens;
    for (size_t i = 0; i < alphabet; ++i) tokens.push_back('a' + static_cast<int32_t>(i));
    std::vector<Merge> merges;
    std::set<std::pair<int32_t, int32_t>> pairs;
    for (int32_t i = 0; i < 30; ++i) {
      const int32_t left = tokens[random() % tokens.size()];
      const int32_t right = tokens[random() % tokens.size()];
      if (!pairs.emplace(left, right).second) continue;
      merges.push_back({left, right, 256 + i});
      tokens.push_back(256 + i);
    }
    std::shuffle(merges.begin(), merges.end(), random);
    const BytePairEncoder encoder(BytesAsIds(), merges, {});
    for (const size_t length : {1, 2, 3, 17, 70, 300}) {
      std::string piece;
      for (size_t i = 0; i < length; ++i) {
        piece.push_back(static_cast<char>('a' + static_cast<char>(random() % alphabet)));
      }
      ASSERT_EQ(Encode(encoder, {piece, piece}), [&] {
        std::vector<int32_t> twice = EncodeNaively(merges, piece);
        const std::vector<int32_t> once = twice;
        twice.insert(twice.end(), once.begin(), once.end());
        return twice;
      }()) << piece;
    }
  }
}

// By the definition's way this would take about 10^12 steps.
TEST(BytePairEncoder, AMegabyteInOnePieceMergesToTheEnd) {
  std::vector<Merge> doublings;
  int32_t token = 'a';
  for (int32_t result = 256; result < 276; ++result) {
    doublings.push_back({token, token, result});
    token = result;
  }
  const BytePairEncoder encoder(BytesAsIds(), doublings, {});
  const std::string piece(1 << 20, 'a');
  EXPECT_THAT(Encode(encoder, {piece}), ElementsAre(275));
}

}  // namespace
}  // namespace msa::engine
