#include "engine/text/nfc.h"

#include <unicode/normalizer2.h>
#include <unicode/unistr.h>

#include <random>

#include "gtest/gtest.h"

namespace msa::engine {
namespace {

std::string NfcByIcuAlone(const std::string& text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* const nfc = icu::Normalizer2::getNFCInstance(error);
  std::string result;
  nfc->normalize(icu::UnicodeString::fromUTF8(text), error).toUTF8String(result);
  EXPECT_TRUE(U_SUCCESS(error));
  return result;
}

TEST(Nfc, ComposesAndReorders) {
  EXPECT_EQ(ToNfc(""), "");
  EXPECT_EQ(ToNfc("cafe\u0301"), "caf\u00E9");
  EXPECT_EQ(ToNfc("\u1100\u1161\u11A8"), "\uAC01");
  EXPECT_EQ(ToNfc("a\u0301\u0323"), "\u1EA1\u0301");
  EXPECT_EQ(ToNfc("\u212B"), "\u00C5");
  EXPECT_EQ(ToNfc(">\u0338"), "\u226F");
}

// The long runs are those that are put in order before ICU sees them.
TEST(Nfc, RunsOfMarksOfAnyLengthAreAsIcuMakesThem) {
  const char* const atoms[] = {"\u0301", "\u0316", "\u0345", "\u0344", "\u0327",
                               "\u0F73", "\u0F71", "\u0F74", "\u0338", "\u05B0",
                               "\u3099", "\u1161", "\u11A8", "\u09BE"};
  const char* const starters[] = {"e",      "\u00E9", "\u1100", "\uAC00",
                                  "\u09C7", "\u304B", "",       "\u01D5"};
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    std::string text;
    for (int run = 0; run < 3; ++run) {
      text += starters[random() % std::size(starters)];
      const size_t length = random() % 200;
      const size_t num_atoms = 1 + random() % std::size(atoms);
      for (size_t i = 0; i < length; ++i) text += atoms[random() % num_atoms];
    }
    ASSERT_EQ(ToNfc(text), NfcByIcuAlone(text)) << text;
  }
}

// By insertion, as ICU alone does it, this takes minutes.
TEST(Nfc, AMegabyteOfAlternatingMarksIsPutInOrder) {
  constexpr size_t kNumPairs = 1 << 18;
  std::string text = "x";
  std::string ordered = "x";
  for (size_t i = 0; i < kNumPairs; ++i) text += "\u0301\u0316";
  for (size_t i = 0; i < kNumPairs; ++i) ordered += "\u0316";
  for (size_t i = 0; i < kNumPairs; ++i) ordered += "\u0301";
  EXPECT_TRUE(ToNfc(text) == ordered);
}

}  // namespace
}  // namespace msa::engine
