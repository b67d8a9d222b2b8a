#include "engine/text/added_token_matcher.h"

#include <ostream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace msa::engine {

bool operator==(const AddedTokenMatcher::Piece& a, const AddedTokenMatcher::Piece& b) {
  return a.id == b.id && a.text == b.text;
}

void PrintTo(const AddedTokenMatcher::Piece& piece, std::ostream* out) {
  *out << "{" << piece.id << ", \"" << piece.text << "\"}";
}

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Piece = AddedTokenMatcher::Piece;

constexpr int32_t kText = Piece::kNoToken;

AddedTokenMatcher MatcherOf(const std::vector<AddedToken>& tokens) {
  AddedTokenMatcher matcher;
  for (const AddedToken& token : tokens) matcher.Add(token.content, token);
  return matcher;
}

TEST(AddedTokenMatcher, LeftmostThenLongestWins) {
  const auto matcher = MatcherOf({{.id = 1, .content = "ab"},
                                  {.id = 2, .content = "abcd"},
                                  {.id = 3, .content = "bc"},
                                  {.id = 4, .content = "dd"}});
  EXPECT_THAT(matcher.Split("xabcx", true),
              ElementsAre(Piece{kText, "x"}, Piece{1, "ab"}, Piece{kText, "cx"}));
  EXPECT_THAT(matcher.Split("abcdd", true), ElementsAre(Piece{2, "abcd"}, Piece{kText, "d"}));
  EXPECT_THAT(matcher.Split("bcab", true), ElementsAre(Piece{3, "bc"}, Piece{1, "ab"}));
  EXPECT_THAT(matcher.Split("", true), IsEmpty());
  EXPECT_THAT(AddedTokenMatcher().Split("ab", true), ElementsAre(Piece{kText, "ab"}));
}

TEST(AddedTokenMatcher, SpecialTokensAreTextUnlessAskedFor) {
  const auto matcher =
      MatcherOf({{.id = 1, .content = "<s>", .special = true}, {.id = 2, .content = "<t>"}});
  EXPECT_THAT(matcher.Split("a<s>b<t>", true),
              ElementsAre(Piece{kText, "a"}, Piece{1, "<s>"}, Piece{kText, "b"}, Piece{2, "<t>"}));
  EXPECT_THAT(matcher.Split("a<s>b<t>", false),
              ElementsAre(Piece{kText, "a<s>b"}, Piece{2, "<t>"}));
}

TEST(AddedTokenMatcher, SingleWordTokensNeedAGapAroundThem) {
  const auto matcher = MatcherOf({{.id = 1, .content = "ab", .single_word = true}});
  EXPECT_THAT(matcher.Split("ab", true), ElementsAre(Piece{1, "ab"}));
  EXPECT_THAT(matcher.Split("(ab)", true),
              ElementsAre(Piece{kText, "("}, Piece{1, "ab"}, Piece{kText, ")"}));
  for (const char* const text : {"xab", "abx", "\u4E2Dab", "ab\u0301", "ab_", "9ab", "ab\u200D"}) {
    EXPECT_THAT(matcher.Split(text, true), ElementsAre(Piece{kText, text}));
  }
}

TEST(AddedTokenMatcher, StrippingTokensTakeTheWhiteSpaceBesideThem) {
  const auto matcher = MatcherOf(
      {{.id = 1, .content = "L", .lstrip = true}, {.id = 2, .content = "R", .rstrip = true}});
  EXPECT_THAT(matcher.Split("a \u3000L b", true),
              ElementsAre(Piece{kText, "a"}, Piece{1, " \u3000L"}, Piece{kText, " b"}));
  EXPECT_THAT(matcher.Split("a R\n\u00A0b", true),
              ElementsAre(Piece{kText, "a "}, Piece{2, "R\n\u00A0"}, Piece{kText, "b"}));
  EXPECT_THAT(matcher.Split("R  L", true), ElementsAre(Piece{2, "R  "}, Piece{1, "L"}));
  EXPECT_THAT(matcher.Split(" L", true), ElementsAre(Piece{1, " L"}));
  EXPECT_THAT(matcher.Split("R ", true), ElementsAre(Piece{2, "R "}));
}

}  // namespace
}  // namespace msa::engine
