#include "engine/generation/token_trie.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>

#include "tests/engine/generation/tiny_model.h"

namespace msa::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::optional<TokenTrie::Node> Walk(const TokenTrie& trie, std::string_view bytes) {
  std::optional<TokenTrie::Node> node = trie.root();
  for (char byte : bytes) {
    if (node.has_value()) node = trie.Child(*node, byte);
  }
  return node;
}

TEST(TokenTrieTest, FindsTokensByTheirBytes) {
  const TokenTrie trie({{7, "ab"}, {3, "a"}, {9, "abc"}, {5, "b"}, {4, "ab"}, {8, ""}});
  EXPECT_THAT(trie.TokensAt(trie.root()), IsEmpty());
  EXPECT_THAT(trie.TokensAt(*Walk(trie, "a")), ElementsAre(3));
  EXPECT_THAT(trie.TokensAt(*Walk(trie, "ab")), ElementsAre(4, 7));
  EXPECT_THAT(trie.TokensAt(*Walk(trie, "abc")), ElementsAre(9));
  EXPECT_FALSE(Walk(trie, "abcd").has_value());
  EXPECT_FALSE(Walk(trie, "ac").has_value());
  EXPECT_FALSE(Walk(trie, "c").has_value());
}

TEST(TokenTrieTest, InnerNodesNeedNoTokenOfTheirOwn) {
  const TokenTrie trie({{1, "xyz"}});
  ASSERT_TRUE(Walk(trie, "xy").has_value());
  EXPECT_THAT(trie.TokensAt(*Walk(trie, "xy")), IsEmpty());
}

TEST(TokenTrieTest, BytesAboveAsciiAreOrderedToo) {
  const TokenTrie trie({{1, "\xFF"}, {2, "z"}, {3, "\x80"}, {4, std::string(1, '\0')}});
  EXPECT_THAT(trie.TokensAt(*Walk(trie, "\xFF")), ElementsAre(1));
  EXPECT_THAT(trie.TokensAt(*Walk(trie, "\x80")), ElementsAre(3));
  EXPECT_THAT(trie.TokensAt(*Walk(trie, std::string_view("\0", 1))), ElementsAre(4));
}

TEST(TokenTrieTest, AnEmptyVocabularyHasNoChildren) {
  const TokenTrie trie(std::vector<std::pair<int32_t, std::string>>{});
  EXPECT_FALSE(trie.Child(trie.root(), 'a').has_value());
  EXPECT_THAT(trie.TokensAt(trie.root()), IsEmpty());
}

TEST(TokenTrieTest, EveryOrdinaryTokenOfAVocabularyIsInIt) {
  const Tokenizer& tokenizer = *GetTinyModel().tokenizer;
  const TokenTrie trie(tokenizer);
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const auto node = Walk(trie, tokenizer.TokenBytes(id));
    const bool found =
        node.has_value() && testing::Matches(testing::Contains(id))(trie.TokensAt(*node));
    EXPECT_EQ(found, !tokenizer.IsSpecial(id)) << id;
  }
}

}  // namespace
}  // namespace msa::engine
