#include "client/cli/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace msa::client {
namespace {

constexpr size_t kNone = std::string_view::npos;

TEST(Utf8, WellFormedTextOfEveryLengthHasNoInvalidByte) {
  EXPECT_EQ(FirstInvalidUtf8Byte(""), kNone);
  EXPECT_EQ(FirstInvalidUtf8Byte("plain"), kNone);
  EXPECT_EQ(FirstInvalidUtf8Byte("é€😀"), kNone);
  EXPECT_EQ(FirstInvalidUtf8Byte("\xF4\x8F\xBF\xBF"), kNone);  // U+10FFFF
  EXPECT_EQ(FirstInvalidUtf8Byte("\xED\x9F\xBF"), kNone);      // right before the surrogates
}

TEST(Utf8, MalformedBytesAreFoundWhereTheyStand) {
  EXPECT_EQ(FirstInvalidUtf8Byte("ab\xFFz"), 2u);
  EXPECT_EQ(FirstInvalidUtf8Byte("\x80"), 0u);   // continuation without a lead
  EXPECT_EQ(FirstInvalidUtf8Byte("a\xC3"), 1u);  // cut short
  EXPECT_EQ(FirstInvalidUtf8Byte("a\xE2\x82"), 1u);
  EXPECT_EQ(FirstInvalidUtf8Byte("\xC0\xAF"), 0u);  // overlong
  EXPECT_EQ(FirstInvalidUtf8Byte("\xE0\x80\xAF"), 0u);
  EXPECT_EQ(FirstInvalidUtf8Byte("\xF0\x80\x80\xAF"), 0u);
  EXPECT_EQ(FirstInvalidUtf8Byte("\xED\xA0\x80"), 0u);      // surrogate
  EXPECT_EQ(FirstInvalidUtf8Byte("\xF4\x90\x80\x80"), 0u);  // beyond U+10FFFF
  EXPECT_EQ(FirstInvalidUtf8Byte("\xF5\x80\x80\x80"), 0u);
}

TEST(Utf8, BordersFallBetweenCharacters) {
  const std::string text = "aé😀";  // 1 + 2 + 4 bytes
  EXPECT_EQ(CharacterBorderAtOrBefore(text, 0), 0u);
  EXPECT_EQ(CharacterBorderAtOrBefore(text, 2), 1u);
  EXPECT_EQ(CharacterBorderAtOrBefore(text, 3), 3u);
  EXPECT_EQ(CharacterBorderAtOrBefore(text, 6), 3u);
  EXPECT_EQ(CharacterBorderAtOrBefore(text, 99), 7u);
}

TEST(Utf8, OneLineCutsByCharactersAndReplacesControls) {
  EXPECT_EQ(OneLine("a\nb\tc", 10), "a b c");
  EXPECT_EQ(OneLine("éééé", 4), "éééé");
  EXPECT_EQ(OneLine("ééééé", 4), "ééé…");
  EXPECT_EQ(NumCharacters(OneLine("ééééé", 4)), 4u);
  EXPECT_EQ(OneLine("\x1b[31m", 10), " [31m");  // no escape sequence reaches the terminal
}

}  // namespace
}  // namespace msa::client
