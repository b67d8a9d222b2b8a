#include "engine/text/pre_tokenizer.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kQwenRegex =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)re"
    R"re(|\s*[\r\n]+|\s+(?!\S)|\s+)re";

std::vector<std::string> Split(std::string_view regex, const std::string& text) {
  const absl::StatusOr<PreTokenizer> pre_tokenizer = PreTokenizer::Create(regex);
  EXPECT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status();
  std::vector<std::string> pieces;
  for (const std::string_view piece : pre_tokenizer->Split(text)) pieces.emplace_back(piece);
  return pieces;
}

TEST(PreTokenizer, SplitsAsQwenDoes) {
  EXPECT_THAT(Split(kQwenRegex, ""), IsEmpty());
  EXPECT_THAT(Split(kQwenRegex, "It's  12 o'clock!\n\n x"),
              ElementsAre("It", "'s", " ", " ", "1", "2", " o", "'clock", "!\n\n", " x"));
  EXPECT_THAT(Split(kQwenRegex, "a   \n  b"), ElementsAre("a", "   \n", " ", " b"));
  EXPECT_THAT(Split(kQwenRegex, "'\u017Fx"), ElementsAre("'\u017F", "x"));
}

TEST(PreTokenizer, WhiteSpaceIsTheUnicodeProperty) {
  EXPECT_THAT(Split(R"(\s+)", "a\u0085\u3000b\u180Ec"),
              ElementsAre("a", "\u0085\u3000", "b\u180Ec"));
  EXPECT_THAT(Split(R"([^\s]+)", "a\u00A0b\u180Ec"), ElementsAre("a", "\u00A0", "b\u180Ec"));
  EXPECT_THAT(Split(R"(\S+)", "a\u2028b"), ElementsAre("a", "\u2028", "b"));
}

TEST(PreTokenizer, TextBetweenMatchesIsAPiece) {
  EXPECT_THAT(Split("b+", "abbcbd"), ElementsAre("a", "bb", "c", "b", "d"));
  EXPECT_THAT(Split("x", "abc"), ElementsAre("abc"));
}

TEST(PreTokenizer, EmptyMatchesEndAndOnlyCut) {
  EXPECT_THAT(Split("b*", "a\u00E9bc"), ElementsAre("a", "\u00E9", "b", "c"));
  EXPECT_THAT(Split("(?=b)", "aab"), ElementsAre("aa", "b"));
}

TEST(PreTokenizer, AMegabyteWithoutASplitIsOnePiece) {
  constexpr size_t kSize = 1 << 20;
  const std::string spaces(kSize, ' ');
  EXPECT_EQ(Split(kQwenRegex, spaces).size(), 1u);
  const std::vector<std::string> pieces = Split(kQwenRegex, spaces + "a");
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].size(), kSize - 1);
  EXPECT_EQ(pieces[1], " a");
  EXPECT_EQ(Split(kQwenRegex, std::string(kSize, 'a')).size(), 1u);
  EXPECT_EQ(Split(kQwenRegex, std::string(kSize, '\n')).size(), 1u);
  EXPECT_EQ(Split(kQwenRegex, spaces + "\n" + spaces).size(), 2u);
}

// A group that repeats needs more stack than the just-in-time compiled matcher has.
TEST(PreTokenizer, DeepBacktrackingIsMatchedTheSlowWay) {
  const std::string run(200000, 'a');
  EXPECT_THAT(Split("(?:a|b(c))*d|a+|x", run + " x"), ElementsAre(run, " ", "x"));
}

TEST(PreTokenizer, ExpressionThatDoesNotCompileIsNamed) {
  for (const char* const regex : {"a(", "[a", "\\p{Nonsense}", "*", "a\\", "\\p{L", "(?<x"}) {
    const auto created = PreTokenizer::Create(regex);
    EXPECT_EQ(created.status().code(), absl::StatusCode::kInvalidArgument) << regex;
    EXPECT_THAT(std::string(created.status().message()), HasSubstr(regex));
  }
}

TEST(PreTokenizer, ConstructsThatLibrariesReadDifferentlyAreRefused) {
  for (const char* const construct :
       {"\\w",  "\\b",    "\\h",     "\\K",     "\\G",     "\\1",   "^",
        "$",    "[a[b]]", "[a&&b]",  "[]a]",    "[^]a]",   "(?s)a", "a(?i)b",
        "(?R)", "(?1)",   "(?(1)a)", "(*UTF)a", "a{1,2}+", "\\Qa",  "\\C"}) {
    const auto created = PreTokenizer::Create(construct);
    EXPECT_EQ(created.status().code(), absl::StatusCode::kInvalidArgument) << construct;
    EXPECT_THAT(std::string(created.status().message()), HasSubstr("not supported")) << construct;
  }
}

TEST(PreTokenizer, PortableConstructsAreAccepted) {
  for (const char* const regex :
       {"[^$\\]\\[^]", "\\p{L}+", "\\p{L}++", "a{1,3}", "(?<=a)b", "(?>a)", "(?:a)", "\\x{41}",
        "\\^\\$", "[\\p{L}\\s]", "(?<name>a)", "[a-z]?+"}) {
    EXPECT_TRUE(PreTokenizer::Create(regex).ok()) << PreTokenizer::Create(regex).status();
  }
}

}  // namespace
}  // namespace msa::engine
