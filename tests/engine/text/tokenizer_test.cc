#include "engine/text/tokenizer.h"

#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/text/tokenizer_vectors.h"

namespace msa::engine {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

std::unique_ptr<Tokenizer> LoadOrDie(const std::string& name) {
  auto tokenizer = Tokenizer::Load(TokenizerDataPath(name));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::unique_ptr<Tokenizer> ParseOrDie(const json& file) {
  auto tokenizer = Tokenizer::Parse(file.dump());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

json ExampleFile() { return json::parse(ReadTokenizerData("tokenizer.json")); }

json AddedTokenJson(int32_t id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", false}};
}

std::string SpelledBytes(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  std::string bytes;
  for (const int32_t id : ids) bytes += tokenizer.TokenBytes(id);
  return bytes;
}

// Both forms that a file's merges may have.
class TokenizerVectorsTest : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerVectorsTest, EveryTextHasHuggingFacesTokens) {
  const auto tokenizer = LoadOrDie(GetParam());
  for (const TokenizerVector& vector : ReadTokenizerVectors()) {
    EXPECT_EQ(tokenizer->EncodeTemplate(vector.text), vector.ids) << vector.text;
    EXPECT_EQ(tokenizer->Decode(vector.ids, false), vector.decoded);
  }
}

TEST_P(TokenizerVectorsTest, BytesThatAreNotUtf8CountAsReplacementCharacters) {
  const auto tokenizer = LoadOrDie(GetParam());
  for (const TokenizerVector& vector : ReadInvalidUtf8Vectors()) {
    EXPECT_EQ(tokenizer->EncodeTemplate(vector.text), vector.ids);
    EXPECT_EQ(tokenizer->Decode(vector.ids, false), vector.decoded);
    EXPECT_EQ(tokenizer->Normalize(vector.text), vector.decoded);
  }
}

INSTANTIATE_TEST_SUITE_P(BothForms, TokenizerVectorsTest,
                         testing::Values("tokenizer.json", "tokenizer-string-merges.json"),
                         [](const auto& param_info) {
                           return std::string(param_info.index == 0 ? "MergesAsPairs"
                                                                    : "MergesAsStrings");
                         });

TEST(Tokenizer, UsersTextNeverMakesSpecialTokens) {
  const auto tokenizer = LoadOrDie("tokenizer.json");
  std::vector<TokenizerVector> vectors = ReadTokenizerVectors();
  const auto invalid = ReadInvalidUtf8Vectors();
  vectors.insert(vectors.end(), invalid.begin(), invalid.end());
  bool any_special = false;
  for (const TokenizerVector& vector : vectors) {
    for (const int32_t id : vector.ids) any_special = any_special || tokenizer->IsSpecial(id);
    const std::vector<int32_t> ids = tokenizer->EncodeText(vector.text);
    for (const int32_t id : ids) EXPECT_FALSE(tokenizer->IsSpecial(id)) << vector.text;
    EXPECT_EQ(tokenizer->Decode(ids, true), tokenizer->Normalize(vector.text));
  }
  EXPECT_TRUE(any_special);
}

TEST(Tokenizer, TextWithoutSpecialTokensIsTheSameAsTextAndAsTemplate) {
  const auto tokenizer = LoadOrDie("tokenizer.json");
  for (const TokenizerVector& vector : ReadTokenizerVectors()) {
    bool special = false;
    for (const int32_t id : vector.ids) special = special || tokenizer->IsSpecial(id);
    if (special) continue;
    EXPECT_EQ(tokenizer->EncodeText(vector.text), vector.ids) << vector.text;
  }
}

TEST(Tokenizer, AddedTokensThatAreNotSpecialAreFoundInUsersText) {
  const auto tokenizer = LoadOrDie("tokenizer.json");
  EXPECT_THAT(tokenizer->EncodeText("<think>"), ElementsAre(2024));
  EXPECT_FALSE(tokenizer->IsSpecial(2024));
  EXPECT_EQ(tokenizer->SpecialTokenId("<think>"), std::nullopt);
}

TEST(Tokenizer, TokensSpellTheNormalizedText) {
  const auto tokenizer = LoadOrDie("tokenizer.json");
  for (const TokenizerVector& vector : ReadTokenizerVectors()) {
    EXPECT_EQ(SpelledBytes(*tokenizer, tokenizer->EncodeText(vector.text)),
              tokenizer->Normalize(vector.text));
  }
  // Normalisation does not reach across an added token, but does across the text of a special one.
  EXPECT_EQ(tokenizer->Normalize("<think>\u0338"), "<think>\u0338");
  EXPECT_EQ(tokenizer->Normalize("<|im_end|>\u0338"), "<|im_end|\u226F");
  EXPECT_EQ(tokenizer->Normalize("cafe\u0301"), "caf\u00E9");
}

TEST(Tokenizer, TokensAreLookedUpByIdAndByContent) {
  const auto tokenizer = LoadOrDie("tokenizer.json");
  EXPECT_EQ(tokenizer->vocab_size(), 2026);
  EXPECT_EQ(tokenizer->SpecialTokenId("<|im_end|>"), 2002);
  EXPECT_EQ(tokenizer->SpecialTokenId("the"), std::nullopt);
  EXPECT_TRUE(tokenizer->IsSpecial(2002));
  EXPECT_EQ(tokenizer->TokenBytes(2002), "<|im_end|>");
  EXPECT_EQ(tokenizer->TokenBytes(220), " ");
  EXPECT_EQ(tokenizer->TokenBytes(198), "\n");
  for (const int32_t outside : {-1, 2026, 1 << 30}) {
    EXPECT_EQ(tokenizer->TokenBytes(outside), "");
    EXPECT_FALSE(tokenizer->IsSpecial(outside));
  }
}

TEST(Tokenizer, DecodeLeavesOutSpecialTokensOnRequest) {
  const auto tokenizer = LoadOrDie("tokenizer.json");
  const auto ids = tokenizer->EncodeTemplate("<|im_start|>a<think>b<|im_end|>");
  EXPECT_EQ(tokenizer->Decode(ids, true), "a<think>b");
  EXPECT_EQ(tokenizer->Decode(ids, false), "<|im_start|>a<think>b<|im_end|>");
}

TEST(Tokenizer, WithoutNormalizerTextStaysAsItIs) {
  json file = ExampleFile();
  file["normalizer"] = nullptr;
  const auto tokenizer = ParseOrDie(file);
  EXPECT_EQ(tokenizer->Normalize("e\u0301\xFF"), "e\u0301\uFFFD");
  EXPECT_EQ(tokenizer->Decode(tokenizer->EncodeText("e\u0301"), false), "e\u0301");
}

TEST(Tokenizer, IgnoreMergesTakesAWholePieceIfItIsAToken) {
  json file = ExampleFile();
  file["model"]["vocab"]["qzx"] = 2026;
  EXPECT_EQ(ParseOrDie(file)->EncodeText("qzx").size(), 3u);
  file["model"]["ignore_merges"] = true;
  const auto tokenizer = ParseOrDie(file);
  EXPECT_THAT(tokenizer->EncodeText("qzx"), ElementsAre(2026));
  EXPECT_EQ(tokenizer->EncodeText("qzxq").size(), 4u);
}

TEST(Tokenizer, IgnoreMergesDoesNotMakeSpecialTokensFromUsersText) {
  json file = ExampleFile();
  file["model"]["ignore_merges"] = true;
  file["model"]["vocab"]["qzx"] = 2026;
  json special = AddedTokenJson(2026, "qzx");
  special["special"] = true;
  file["added_tokens"].push_back(special);
  const auto tokenizer = ParseOrDie(file);
  EXPECT_THAT(tokenizer->EncodeTemplate("qzx"), ElementsAre(2026));
  EXPECT_EQ(tokenizer->EncodeText("qzx").size(), 3u);
}

TEST(Tokenizer, NormalizedAddedTokensAreFoundInNormalizedText) {
  json file = ExampleFile();
  json token = AddedTokenJson(2026, "caf\u00E9");
  file["added_tokens"].push_back(token);
  EXPECT_EQ(ParseOrDie(file)->EncodeText("cafe\u0301").size(), 5u);
  file["added_tokens"].back()["normalized"] = true;
  const auto tokenizer = ParseOrDie(file);
  EXPECT_THAT(tokenizer->EncodeText("cafe\u0301"), ElementsAre(2026));
  EXPECT_EQ(tokenizer->Normalize("cafe\u0301"), "caf\u00E9");
}

TEST(Tokenizer, SpaceThatAnAddedTokenTakesIsNotInTheNormalizedText) {
  json file = ExampleFile();
  json token = AddedTokenJson(2026, "<pad>");
  token["lstrip"] = true;
  token["rstrip"] = true;
  file["added_tokens"].push_back(token);
  const auto tokenizer = ParseOrDie(file);
  EXPECT_EQ(tokenizer->EncodeText("a  <pad>  b").size(), 3u);
  EXPECT_EQ(tokenizer->Normalize("a  <pad>  b"), "a<pad>b");
}

TEST(Tokenizer, IdsMayHaveGaps) {
  json file = ExampleFile();
  file["added_tokens"].push_back(AddedTokenJson(3000, "<far>"));
  const auto tokenizer = ParseOrDie(file);
  EXPECT_EQ(tokenizer->vocab_size(), 3001);
  EXPECT_THAT(tokenizer->EncodeText("<far>"), ElementsAre(3000));
  EXPECT_EQ(tokenizer->TokenBytes(2500), "");
  EXPECT_EQ(tokenizer->Decode({2500}, false), "");
}

// A quadratic step would take minutes.
TEST(Tokenizer, LongTextOfAnyKindEncodesAndComesBack) {
  const auto tokenizer = LoadOrDie("tokenizer.json");
  const std::string patterns[] = {"a",      " ",    "\n",        "a ",      "\u4E2D",
                                  "\u0F73", "\xFF", "<|im_end|", "<think>", "\u3000  "};
  for (const std::string& pattern : patterns) {
    std::string text = "x";
    while (text.size() < kLongTextBytes) text += pattern;
    const std::string normalized = tokenizer->Normalize(text);
    EXPECT_TRUE(SpelledBytes(*tokenizer, tokenizer->EncodeText(text)) == normalized) << pattern;
  }
}

TEST(Tokenizer, ThreadsShareATokenizer) {
  const auto tokenizer = LoadOrDie("tokenizer.json");
  const auto vectors = ReadTokenizerVectors();
  std::vector<int> num_wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& wrong : num_wrong) {
    threads.emplace_back([&tokenizer, &vectors, &wrong] {
      for (const TokenizerVector& vector : vectors) {
        wrong += tokenizer->EncodeTemplate(vector.text) == vector.ids ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(num_wrong, ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace msa::engine
