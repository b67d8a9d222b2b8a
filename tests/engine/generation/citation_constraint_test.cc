#include "engine/generation/citation_constraint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/generation/tiny_model.h"

namespace msa::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Vocabulary = std::vector<std::pair<int32_t, std::string>>;

constexpr char kEnd[] = "<End-of-Retrieve>";
constexpr int32_t kMarkerId = 5000;

struct Round {
  std::vector<uint32_t> numbers;
  int max_citations = 16;
  bool must_end = false;
};

// The definition, byte by byte and without any table: what may `text` become?
enum class Verdict { kIllegal, kBegun, kBetween, kEnded };
Verdict Judge(std::string_view text, const Round& round) {
  std::set<std::string> left;
  for (uint32_t n : round.numbers) left.insert(absl::StrCat("[", n, "]"));
  int num_citations = 0;
  while (true) {
    if (text.empty()) return Verdict::kBetween;
    if (text == kEnd) return Verdict::kEnded;
    if (std::string_view(kEnd).starts_with(text)) return Verdict::kBegun;
    if (round.must_end || num_citations == round.max_citations) return Verdict::kIllegal;
    const auto whole = std::find_if(left.begin(), left.end(),
                                    [&](const std::string& c) { return text.starts_with(c); });
    if (whole == left.end()) {
      const bool begun = std::any_of(left.begin(), left.end(), [&](const std::string& c) {
        return std::string_view(c).starts_with(text);
      });
      return begun ? Verdict::kBegun : Verdict::kIllegal;
    }
    text.remove_prefix(whole->size());
    left.erase(whole);
    ++num_citations;
  }
}

std::vector<int32_t> NaiveAllowed(const std::string& written, const Round& round,
                                  const Vocabulary& vocabulary) {
  std::vector<int32_t> allowed;
  for (const auto& [id, bytes] : vocabulary) {
    if (!bytes.empty() && Judge(written + bytes, round) != Verdict::kIllegal) allowed.push_back(id);
  }
  if (Judge(written, round) == Verdict::kBetween && !round.must_end) allowed.push_back(kMarkerId);
  std::sort(allowed.begin(), allowed.end());
  return allowed;
}

Vocabulary Bytes() {
  Vocabulary vocabulary;
  for (int32_t byte = 0; byte < 256; ++byte) {
    vocabulary.emplace_back(byte, std::string(1, static_cast<char>(byte)));
  }
  return vocabulary;
}

// Bytes and tokens that hold parts of citations in every way.
Vocabulary Crafted() {
  Vocabulary vocabulary = Bytes();
  int32_t id = 300;
  for (const char* token : {"][",
                            "[1",
                            "[12",
                            "12",
                            "1]",
                            "]<",
                            "1][2",
                            "[1][2][3]",
                            "1][2][1",
                            "[1][1]",
                            "<End",
                            "-of-",
                            "Retrieve>",
                            "<End-of-Retrieve>",
                            ">x",
                            "Retrieve>The",
                            "]<End-of-Retrieve>",
                            "[3]<End",
                            "[007]",
                            "[ 1]",
                            " [",
                            "]\n",
                            "42949",
                            "67295]",
                            "[0",
                            "0]["}) {
    vocabulary.emplace_back(id++, token);
  }
  vocabulary.emplace_back(id++, "][");  // twice in the vocabulary
  return vocabulary;
}

Vocabulary Tiny() {
  const Tokenizer& tokenizer = *GetTinyModel().tokenizer;
  Vocabulary vocabulary;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.IsSpecial(id)) vocabulary.emplace_back(id, tokenizer.TokenBytes(id));
  }
  return vocabulary;
}

struct Walker {
  explicit Walker(const TokenTrie& trie, const Round& round)
      : constraint(&trie, {kMarkerId, "<|object_ref_end|>"}, {std::nullopt, kEnd}) {
    constraint.Begin(round.numbers, round.max_citations, round.must_end);
  }
  std::vector<int32_t> Allowed() const {
    return {constraint.allowed().begin(), constraint.allowed().end()};
  }
  CitationConstraint constraint;
};

// Chooses allowed tokens at random until a marker is complete; checks every list against the
// definition.
void RandomWalk(const Vocabulary& vocabulary, const TokenTrie& trie, const Round& round,
                std::mt19937* random) {
  Walker walker(trie, round);
  std::string written;
  while (true) {
    const std::vector<int32_t> allowed = walker.Allowed();
    ASSERT_EQ(allowed, NaiveAllowed(written, round, vocabulary)) << written;
    ASSERT_FALSE(allowed.empty()) << written;
    const int32_t id = allowed[(*random)() % allowed.size()];
    if (id == kMarkerId) {
      ASSERT_TRUE(walker.constraint.Advance(id, "<|object_ref_end|>"));
      break;
    }
    const auto token = std::find_if(vocabulary.begin(), vocabulary.end(),
                                    [id](const auto& entry) { return entry.first == id; });
    ASSERT_TRUE(walker.constraint.Advance(id, token->second));
    written += token->second;
    if (Judge(written, round) == Verdict::kEnded) break;
  }
  EXPECT_THAT(walker.Allowed(), IsEmpty());
}

void RandomWalks(const Vocabulary& vocabulary, int num_walks) {
  const TokenTrie trie(vocabulary);
  std::mt19937 random(11);
  const std::vector<uint32_t> pool = {0,   1,   2,   3,    11,   12,        112,       121,
                                      100, 101, 999, 1000, 4096, 429496729, 4294967295};
  for (int i = 0; i < num_walks; ++i) {
    Round round;
    for (size_t n = random() % 8; n > 0; --n) {
      round.numbers.push_back(pool[random() % pool.size()]);  // may repeat, in any order
    }
    round.max_citations = static_cast<int>(random() % 5);
    round.must_end = random() % 8 == 0;
    RandomWalk(vocabulary, trie, round, &random);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(CitationConstraintTest, RandomWalksOverCraftedTokensAreLegal) { RandomWalks(Crafted(), 400); }
TEST(CitationConstraintTest, RandomWalksOverBytesAreLegal) { RandomWalks(Bytes(), 200); }
TEST(CitationConstraintTest, RandomWalksOverARealVocabularyAreLegal) { RandomWalks(Tiny(), 25); }

TEST(CitationConstraintTest, ByteByByte) {
  const TokenTrie trie(Bytes());
  Walker walker(trie, {.numbers = {12, 1}});
  EXPECT_THAT(walker.Allowed(), ElementsAre('<', '[', kMarkerId));
  EXPECT_TRUE(walker.constraint.Advance('[', "["));
  EXPECT_THAT(walker.Allowed(), ElementsAre('1'));
  EXPECT_TRUE(walker.constraint.Advance('1', "1"));
  EXPECT_THAT(walker.Allowed(), ElementsAre('2', ']'));
  EXPECT_TRUE(walker.constraint.Advance(']', "]"));
  EXPECT_TRUE(walker.constraint.Advance('[', "["));
  EXPECT_TRUE(walker.constraint.Advance('1', "1"));
  EXPECT_THAT(walker.Allowed(), ElementsAre('2'));  // [1] has been written
  EXPECT_TRUE(walker.constraint.Advance('2', "2"));
  EXPECT_TRUE(walker.constraint.Advance(']', "]"));
  EXPECT_THAT(walker.Allowed(), ElementsAre('<', kMarkerId));  // nothing is left
}

TEST(CitationConstraintTest, AtTheCitationBoundOnlyMarkersRemain) {
  const TokenTrie trie(Bytes());
  Walker walker(trie, {.numbers = {1, 2, 3}, .max_citations = 1});
  for (char byte : std::string("[2]")) {
    EXPECT_TRUE(walker.constraint.Advance(byte, std::string(1, byte)));
  }
  EXPECT_THAT(walker.Allowed(), ElementsAre('<', kMarkerId));
}

TEST(CitationConstraintTest, WithoutSelectionOnlyMarkersRemain) {
  const TokenTrie trie(Bytes());
  EXPECT_THAT(Walker(trie, {}).Allowed(), ElementsAre('<', kMarkerId));
}

TEST(CitationConstraintTest, TheLastRoundCanOnlyEndRetrieval) {
  const TokenTrie trie(Bytes());
  Walker walker(trie, {.numbers = {1}, .must_end = true});
  std::string written;
  while (!walker.Allowed().empty()) {
    ASSERT_EQ(walker.Allowed().size(), 1U);
    const auto byte = static_cast<char>(walker.Allowed()[0]);
    written += byte;
    ASSERT_TRUE(walker.constraint.Advance(byte, std::string(1, byte)));
  }
  EXPECT_EQ(written, kEnd);
}

TEST(CitationConstraintTest, OtherTokensDoNotAdvance) {
  const TokenTrie trie(Bytes());
  Walker walker(trie, {.numbers = {1}});
  EXPECT_FALSE(walker.constraint.Advance('x', "x"));
  EXPECT_FALSE(walker.constraint.Advance(kImEnd, "<|im_end|>"));
  EXPECT_THAT(walker.Allowed(), ElementsAre('<', '[', kMarkerId));
}

TEST(CitationConstraintTest, EveryRoundBeginsAnew) {
  const TokenTrie trie(Bytes());
  Walker walker(trie, {.numbers = {1}, .max_citations = 1});
  for (char byte : std::string("[1]")) walker.constraint.Advance(byte, std::string(1, byte));
  walker.constraint.Advance(kMarkerId, "<|object_ref_end|>");
  EXPECT_THAT(walker.Allowed(), IsEmpty());
  walker.constraint.Begin({1, 2}, 2, false);
  EXPECT_THAT(walker.Allowed(), ElementsAre('<', '[', kMarkerId));
}

TEST(CitationConstraintTest, MarkersCanBeTwoSpecialTokens) {
  const TokenTrie trie(Bytes());
  CitationConstraint constraint(&trie, {kMarkerId, ""}, {kMarkerId - 1, ""});
  constraint.Begin({}, 16, false);
  EXPECT_THAT(constraint.allowed(), ElementsAre(kMarkerId - 1, kMarkerId));
  constraint.Begin({}, 16, true);
  EXPECT_THAT(constraint.allowed(), ElementsAre(kMarkerId - 1));
}

TEST(CitationConstraintTest, MarkersCanBothBeSpelled) {
  const TokenTrie trie(Bytes());
  CitationConstraint constraint(&trie, {std::nullopt, "<e>"}, {std::nullopt, "<r>"});
  constraint.Begin({}, 16, false);
  EXPECT_THAT(constraint.allowed(), ElementsAre('<'));
  EXPECT_TRUE(constraint.Advance('<', "<"));
  EXPECT_THAT(constraint.allowed(), ElementsAre('e', 'r'));
}

TEST(CitationConstraintTest, AVocabularyThatCannotSpellLeavesNothing) {
  const TokenTrie trie(Vocabulary{{1, "["}, {2, "]"}, {3, "<"}});
  Walker walker(trie, {.numbers = {1}});
  EXPECT_TRUE(walker.constraint.Advance(1, "["));
  EXPECT_THAT(walker.Allowed(), IsEmpty());
  EXPECT_FALSE(walker.constraint.Advance(2, "]"));
}

}  // namespace
}  // namespace msa::engine
