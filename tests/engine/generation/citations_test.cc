#include "engine/generation/citations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msa::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(CitationsTest, AreUniqueAndAscending) {
  EXPECT_THAT(FindCitations("[100][7][7][3][100]", 16), ElementsAre(3, 7, 100));
}

TEST(CitationsTest, AreFoundAnywhereInTheText) {
  EXPECT_THAT(FindCitations("see [3 and [7] maybe 100] [x] [] [-1] [ 20]", 16), ElementsAre(7));
  EXPECT_THAT(FindCitations("[[12]]", 16), ElementsAre(12));
  EXPECT_THAT(FindCitations("[1[2]3]", 16), ElementsAre(2));
  EXPECT_THAT(FindCitations("[12", 16), IsEmpty());
  EXPECT_THAT(FindCitations("", 16), IsEmpty());
}

TEST(CitationsTest, LeadingZerosDoNotCount) {
  EXPECT_THAT(FindCitations("[003][0][00]", 16), ElementsAre(0, 3));
}

TEST(CitationsTest, NumbersThatNoDocumentHasAreDropped) {
  EXPECT_THAT(FindCitations("[4294967295][4294967296][18446744073709551617]", 16),
              ElementsAre(4294967295U));
  EXPECT_THAT(FindCitations("[" + std::string(1000, '9') + "]", 16), IsEmpty());
  EXPECT_THAT(FindCitations("[" + std::string(1000, '0') + "5]", 16), ElementsAre(5));
}

TEST(CitationsTest, TheFirstWrittenRemainAtTheBound) {
  EXPECT_THAT(FindCitations("[9][8][9][7][1]", 3), ElementsAre(7, 8, 9));
  EXPECT_THAT(FindCitations("[9]", 0), IsEmpty());
}

TEST(CitationsTest, OtherDigitsAreNoDigits) {
  EXPECT_THAT(FindCitations("[\xD9\xA3]", 16), IsEmpty());  // Arabic three
}

}  // namespace
}  // namespace msa::engine
