#include "client/cli/text_splitter.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "client/cli/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace msa::client {
namespace {

using testing::ElementsAre;

constexpr int64_t kOwnTokens = 3;  // of a document without text

// A token per character that is not white space, and a document's own.
absl::StatusOr<int64_t> CountVisible(const std::string& text) {
  int64_t tokens = kOwnTokens;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_space = text[i] == ' ' || text[i] == '\n';
    if (!is_space && CharacterBorderAtOrBefore(text, i) == i) ++tokens;
  }
  return tokens;
}

std::vector<std::string> Split(const std::string& text, int64_t max_tokens) {
  absl::StatusOr<std::vector<std::string>> pieces = SplitText(text, max_tokens, CountVisible);
  EXPECT_TRUE(pieces.ok()) << pieces.status();
  return pieces.ok() ? *pieces : std::vector<std::string>();
}

TEST(SplitText, ShortTextsStayAsTheyAre) {
  EXPECT_THAT(Split(" abc\n\n", 6), ElementsAre(" abc\n\n"));
}

TEST(SplitText, CutsAtParagraphsAndFillsPieces) {
  // Two paragraphs fit into a piece of 3 + 6 tokens, three do not.
  EXPECT_THAT(Split("aaa\n\nbbb\n\nccc\n\nddd\n\neee", 9),
              ElementsAre("aaa\n\nbbb", "ccc\n\nddd", "eee"));
}

TEST(SplitText, CutsLongParagraphsAtLinesThenSentencesThenWords) {
  EXPECT_THAT(Split("aaaa\nbbbb\n\ncc", 7), ElementsAre("aaaa", "bbbb", "cc"));
  EXPECT_THAT(Split("aaa. bbb! ccc", 7), ElementsAre("aaa.", "bbb!", "ccc"));
  EXPECT_THAT(Split("aaa bbb ccc", 7), ElementsAre("aaa", "bbb", "ccc"));
}

TEST(SplitText, CutsBetweenCharactersWhereNothingElseIs) {
  const std::vector<std::string> pieces = Split("😀😀😀😀😀", 5);
  std::string joined;
  for (const std::string& piece : pieces) {
    EXPECT_EQ(FirstInvalidUtf8Byte(piece), std::string::npos);
    EXPECT_LE(*CountVisible(piece), 5);
    joined += piece;
  }
  EXPECT_EQ(joined, "😀😀😀😀😀");
}

TEST(SplitText, RandomTextsKeepEveryCharacterWithinTheLimit) {
  std::mt19937 random(5);
  const std::vector<std::string> parts = {"a",  "é",    "😀",     " ",         ". ",
                                          "\n", "\n\n", "word ", "sentence. "};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    const size_t length = 1 + random() % 60;
    for (size_t i = 0; i < length; ++i) text += parts[random() % parts.size()];
    const int64_t limit = 4 + static_cast<int64_t>(random() % 20);
    std::string seen;
    for (const std::string& piece : Split(text, limit)) {
      EXPECT_LE(*CountVisible(piece), limit) << text;
      seen += piece;
    }
    const auto drop_spaces = [](std::string s) {
      s.erase(std::remove_if(s.begin(), s.end(), [](char c) { return c == ' ' || c == '\n'; }),
              s.end());
      return s;
    };
    EXPECT_EQ(drop_spaces(seen), drop_spaces(text));
  }
}

TEST(SplitText, LimitBelowOneCharacterIsAnError) {
  const absl::StatusOr<std::vector<std::string>> pieces =
      SplitText("abc", kOwnTokens, CountVisible);
  EXPECT_EQ(pieces.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(pieces.status().message(),
            "no piece can have at most 3 tokens: a single character has more");
}

TEST(SplitText, CounterErrorEndsTheWork) {
  const absl::StatusOr<std::vector<std::string>> pieces = SplitText(
      "abc", 3,
      [](const std::string&) -> absl::StatusOr<int64_t> { return absl::UnavailableError("gone"); });
  EXPECT_EQ(pieces.status(), absl::UnavailableError("gone"));
}

TEST(SplitText, TextsOverTheCountingLimitAreNeverCountedWhole) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "a paragraph of some words\n\n";
  size_t longest = 0;
  const absl::StatusOr<std::vector<std::string>> pieces =
      SplitText(text, 1 << 20, [&](const std::string& part) {
        longest = std::max(longest, part.size());
        return CountVisible(part);
      });
  ASSERT_TRUE(pieces.ok());
  EXPECT_EQ(pieces->size(), 1u);
  EXPECT_LE(longest, size_t{256} << 10);
}

TEST(SplitDocument, PiecesHaveNumberedIdsAndTheirParent) {
  SourceDocument document;
  document.id = "a.txt";
  document.text = "aaa\n\nbbb";
  document.metadata = {{"lang", "en"}};
  const absl::StatusOr<std::vector<SourceDocument>> pieces =
      SplitDocument(document, 6, CountVisible);
  ASSERT_TRUE(pieces.ok());
  ASSERT_EQ(pieces->size(), 2u);
  EXPECT_EQ((*pieces)[0].id, "a.txt#0");
  EXPECT_EQ((*pieces)[1].id, "a.txt#1");
  EXPECT_EQ((*pieces)[1].text, "bbb");
  EXPECT_EQ((*pieces)[1].metadata.at("parent"), MetadataValue(std::string("a.txt")));
  EXPECT_EQ((*pieces)[1].metadata.at("lang"), MetadataValue(std::string("en")));
}

TEST(SplitDocument, DocumentsThatFitKeepTheirId) {
  SourceDocument document;
  document.id = "a.txt";
  document.text = "aaa";
  const absl::StatusOr<std::vector<SourceDocument>> pieces =
      SplitDocument(document, 6, CountVisible);
  ASSERT_TRUE(pieces.ok());
  ASSERT_EQ(pieces->size(), 1u);
  EXPECT_EQ((*pieces)[0].id, "a.txt");
  EXPECT_TRUE((*pieces)[0].metadata.empty());
}

}  // namespace
}  // namespace msa::client
