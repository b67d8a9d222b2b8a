#include "engine/text/stream_decoder.h"

#include <memory>
#include <random>

#include "engine/text/utf8.h"
#include "gtest/gtest.h"
#include "tests/engine/text/tokenizer_vectors.h"

namespace msa::engine {
namespace {

class StreamDecoderTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loaded = Tokenizer::Load(TokenizerDataPath("tokenizer.json"));
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
  }

  // All that is pushed; every part of it has to be whole characters.
  std::string DecodeInSteps(const std::vector<int32_t>& ids, bool skip_special) {
    StreamDecoder decoder(tokenizer_.get(), skip_special);
    std::string text;
    for (const int32_t id : ids) {
      const std::string part = decoder.Push(id);
      EXPECT_EQ(ReplaceInvalidUtf8(part), part);
      text += part;
    }
    return text + decoder.Finish();
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(StreamDecoderTest, PartsOfEveryVectorAreItsText) {
  for (const TokenizerVector& vector : ReadTokenizerVectors()) {
    EXPECT_EQ(DecodeInSteps(vector.ids, false), vector.decoded);
    EXPECT_EQ(DecodeInSteps(vector.ids, true), tokenizer_->Decode(vector.ids, true));
  }
}

TEST_F(StreamDecoderTest, RandomIdsDecodeAsAllAtOnce) {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    std::vector<int32_t> ids;
    const size_t length = random() % 12;
    // Mostly single bytes above ASCII, so that characters break in every way.
    for (size_t i = 0; i < length; ++i) {
      const bool any = random() % 5 == 0;
      ids.push_back(static_cast<int32_t>(any ? random() % 2100 : 94 + random() % 162));
    }
    for (const bool skip_special : {false, true}) {
      ASSERT_EQ(DecodeInSteps(ids, skip_special), tokenizer_->Decode(ids, skip_special));
    }
  }
}

TEST_F(StreamDecoderTest, CharacterComesWhenItsLastByteComes) {
  const std::vector<int32_t> ids = tokenizer_->EncodeText("\U0001F600");
  ASSERT_EQ(ids.size(), 4u);
  StreamDecoder decoder(tokenizer_.get(), false);
  EXPECT_EQ(decoder.Push(ids[0]), "");
  EXPECT_EQ(decoder.Push(ids[1]), "");
  EXPECT_EQ(decoder.Push(ids[2]), "");
  EXPECT_EQ(decoder.Push(ids[3]), "\U0001F600");
  EXPECT_EQ(decoder.Finish(), "");
}

TEST_F(StreamDecoderTest, UnfinishedCharacterIsReplacedAtTheEndOrByTheNext) {
  const std::vector<int32_t> ids = tokenizer_->EncodeText("\U0001F600");
  const int32_t letter = tokenizer_->EncodeText("a").at(0);
  StreamDecoder decoder(tokenizer_.get(), false);
  decoder.Push(ids[0]);
  decoder.Push(ids[1]);
  EXPECT_EQ(decoder.Finish(), "\uFFFD");
  EXPECT_EQ(decoder.Finish(), "");
  EXPECT_EQ(decoder.Push(ids[0]), "");
  EXPECT_EQ(decoder.Push(letter), "\uFFFDa");
}

TEST_F(StreamDecoderTest, SkippedSpecialTokenDoesNotBreakACharacter) {
  const int32_t special = *tokenizer_->SpecialTokenId("<|im_end|>");
  std::vector<int32_t> ids = tokenizer_->EncodeText("\U0001F600");
  ids.insert(ids.begin() + 2, special);
  EXPECT_EQ(DecodeInSteps(ids, true), "\U0001F600");
  EXPECT_EQ(DecodeInSteps(ids, false), "\uFFFD<|im_end|>\uFFFD\uFFFD");
}

TEST_F(StreamDecoderTest, UnknownIdsAddNothing) {
  EXPECT_EQ(DecodeInSteps({-1, 2026, 1 << 30}, false), "");
}

}  // namespace
}  // namespace msa::engine
