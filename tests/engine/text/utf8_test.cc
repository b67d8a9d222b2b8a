#include "engine/text/utf8.h"

#include "gtest/gtest.h"
#include "tests/engine/text/tokenizer_vectors.h"

namespace msa::engine {
namespace {

using Kind = Utf8Sequence::Kind;

struct FrontCase {
  std::string bytes;
  Kind kind;
  size_t length;
};

TEST(Utf8, FrontSequenceIsCharacterBrokenOrCutOff) {
  const FrontCase cases[] = {
      {"a", Kind::kCharacter, 1},
      {"\xC2\x80x", Kind::kCharacter, 2},
      {"\xE0\xA0\x80", Kind::kCharacter, 3},
      {"\xED\x9F\xBF", Kind::kCharacter, 3},
      {"\xEF\xBF\xBF", Kind::kCharacter, 3},
      {"\xF0\x90\x80\x80", Kind::kCharacter, 4},
      {"\xF4\x8F\xBF\xBF", Kind::kCharacter, 4},
      {"\x80", Kind::kInvalid, 1},
      {"\xC1\x80", Kind::kInvalid, 1},      // overlong
      {"\xE0\x9F\x80", Kind::kInvalid, 1},  // overlong
      {"\xED\xA0\x80", Kind::kInvalid, 1},  // surrogate
      {"\xF0\x8F\x80\x80", Kind::kInvalid, 1},
      {"\xF4\x90\x80\x80", Kind::kInvalid, 1},  // above U+10FFFF
      {"\xF5\x80\x80\x80", Kind::kInvalid, 1},
      {"\xE2\x82x", Kind::kInvalid, 2},
      {"\xF0\x9F\x98x", Kind::kInvalid, 3},
      {"\xC3", Kind::kCutOff, 1},
      {"\xE2\x82", Kind::kCutOff, 2},
      {"\xF0\x9F\x98", Kind::kCutOff, 3},
  };
  for (const FrontCase& expected : cases) {
    const Utf8Sequence found = FirstUtf8Sequence(expected.bytes);
    EXPECT_EQ(found.kind, expected.kind) << testing::PrintToString(expected.bytes);
    EXPECT_EQ(found.length, expected.length) << testing::PrintToString(expected.bytes);
  }
}

TEST(Utf8, FirstInvalidByteIsWhereTheWholeCharactersEnd) {
  EXPECT_EQ(FindInvalidUtf8(""), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("a\xC3\xA4\xF0\x9F\x98\x80"), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("\xFF"), 0U);
  EXPECT_EQ(FindInvalidUtf8("a\xC3\xA4\xED\xA0\x80z"), 3U);
  EXPECT_EQ(FindInvalidUtf8("ab\xE2\x82"), 2U);  // cut off
}

TEST(Utf8, BrokenSequencesAreReplacedAsPythonDoes) {
  for (const TokenizerVector& vector : ReadInvalidUtf8Vectors()) {
    EXPECT_EQ(ReplaceInvalidUtf8(vector.text), vector.decoded);
  }
}

TEST(Utf8, WellFormedTextStaysAsItIs) {
  for (const TokenizerVector& vector : ReadTokenizerVectors()) {
    EXPECT_EQ(ReplaceInvalidUtf8(vector.text), vector.text);
  }
  EXPECT_EQ(ReplaceInvalidUtf8(std::string_view("\0a\0", 3)), std::string("\0a\0", 3));
}

}  // namespace
}  // namespace msa::engine
