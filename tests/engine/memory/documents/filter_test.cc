#include "engine/memory/documents/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "kernels/core/error_detail.h"

namespace msa::engine {
namespace {

using ::testing::HasSubstr;

const Metadata kMetadata = {{"lang", "en"},     {"year", 2021.0},
                            {"draft", false},   {"content-type", "text/plain"},
                            {"two words", "x"}, {"mixed", "12"}};

bool Matches(const std::string& text) {
  const auto filter = Filter::Parse(text);
  EXPECT_TRUE(filter.ok()) << text << ": " << filter.status();
  return filter.ok() && filter->Matches("doc-1", kMetadata);
}

TEST(Filter, ComparesStringsNumbersAndTruthValues) {
  EXPECT_TRUE(Matches(R"(metadata.lang = "en")"));
  EXPECT_FALSE(Matches(R"(metadata.lang = "EN")"));
  EXPECT_TRUE(Matches(R"(metadata.lang != "de")"));
  EXPECT_TRUE(Matches(R"(metadata.lang >= "en" AND metadata.lang < "eo")"));
  EXPECT_TRUE(Matches("metadata.year = 2021"));
  EXPECT_TRUE(Matches("metadata.year=2.021e3"));
  EXPECT_TRUE(Matches("metadata.year > -1 AND metadata.year <= 2021"));
  EXPECT_FALSE(Matches("metadata.year < 2021"));
  EXPECT_TRUE(Matches("metadata.draft = false"));
  EXPECT_TRUE(Matches("metadata.draft != true"));
}

TEST(Filter, KeysThatAreNoWordsAreQuoted) {
  EXPECT_TRUE(Matches(R"(metadata."two words" = "x")"));
  EXPECT_TRUE(Matches(R"(metadata.content-type = "text/plain")"));
  EXPECT_TRUE(Matches(R"(metadata."\u006cang" = "\u0065n")"));
}

TEST(Filter, AnotherTypeNeverCompares) {
  EXPECT_FALSE(Matches("metadata.mixed = 12"));
  EXPECT_FALSE(Matches("metadata.mixed != 12"));
  EXPECT_FALSE(Matches("metadata.mixed < 13"));
  EXPECT_FALSE(Matches("metadata.lang = true"));
}

TEST(Filter, AMissingKeyIsNeitherEqualNorUnequal) {
  EXPECT_FALSE(Matches("metadata.owner = \"a\""));
  EXPECT_FALSE(Matches("metadata.owner != \"a\""));
  EXPECT_TRUE(Matches("NOT metadata.owner = \"a\""));
  EXPECT_FALSE(Matches("metadata.owner:*"));
  EXPECT_TRUE(Matches("metadata.lang:*"));
}

TEST(Filter, Ids) {
  EXPECT_TRUE(Matches(R"(id = "doc-1")"));
  EXPECT_FALSE(Matches(R"(id != "doc-1")"));
  EXPECT_TRUE(Matches(R"(id != "doc-2")"));
}

TEST(Filter, ParenthesesAndConnectives) {
  EXPECT_TRUE(Matches(R"(metadata.lang = "de" OR metadata.year > 2020 OR id = "z")"));
  EXPECT_FALSE(Matches(R"((metadata.lang = "de" OR metadata.year > 2020) AND id = "z")"));
  EXPECT_TRUE(Matches(R"(NOT (metadata.lang = "de" AND metadata.year > 2020))"));
  EXPECT_TRUE(Matches(R"(NOT NOT metadata.lang = "en")"));
}

TEST(Filter, RefusalsSayWhereAndWhatIsAllowed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "byte 0: id, metadata.KEY, NOT or \"(\" expected, found the end"},
      {"lang = \"en\"", "byte 0: id, metadata.KEY, NOT or \"(\" expected, found \"lang\""},
      {"metadata = 1", "byte 9: \".\" and a metadata key expected, found \"=\""},
      {"metadata. = 1", "byte 10: a metadata key"},
      {"metadata.a 1", "byte 11: =, !=, <, <=, >, >= or :* expected, found \"1\""},
      {"metadata.a = en", "byte 13: a string in double quotes, a number, true or false expected"},
      {"metadata.a = 1e999", "a number"},
      {"metadata.a = 1 AND", "byte 18: id, metadata.KEY"},
      {"metadata.a = 1 metadata.b = 2", "byte 15: AND, OR or the end expected"},
      {"id = \"a\" AND id = \"b\" OR id = \"c\"",
       "byte 22: AND and OR side by side need parentheses"},
      {"(id = \"a\"", "byte 9: \")\" expected, found the end"},
      {"id < \"a\"", "byte 3: id takes = and != only"},
      {"id = 5", "byte 5: an id is a string in double quotes"},
      {"metadata.a > true", "byte 11: true and false take = and != only"},
      {"metadata.a = \"x", "byte 13: the string has no closing quote"},
      {"metadata.a = \"\\q\"", "byte 13: the string is no JSON string"},
      {"metadata.a = \"\xff\"", "byte 13: the string is no JSON string"},
      {"metadata.a = 'x'", "byte 13: \"'\" has no meaning here"},
      {"é = 1", "byte 0: \"é\" has no meaning here"},
      {"metadata.a ~ 1", "byte 11: \"~\" has no meaning here"},
  };
  for (const auto& [text, message] : cases) {
    const auto filter = Filter::Parse(text);
    ASSERT_FALSE(filter.ok()) << text;
    EXPECT_EQ(filter.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(filter.status().message()), HasSubstr(message)) << text;
    const auto detail = kernels::DetailOf(filter.status());
    EXPECT_EQ(detail.reason, "INVALID_FILTER");
    EXPECT_EQ(detail.field, "filter");
  }
}

TEST(Filter, NestingAndLengthAreBounded) {
  const std::string id = "id = \"a\"";
  const auto nested = [&](int depth) {
    return std::string(static_cast<size_t>(depth), '(') + id +
           std::string(static_cast<size_t>(depth), ')');
  };
  EXPECT_TRUE(Filter::Parse(nested(kMaxFilterDepth - 1)).ok());
  EXPECT_THAT(std::string(Filter::Parse(nested(kMaxFilterDepth)).status().message()),
              HasSubstr("nest deeper than 64"));
  const std::string longest =
      id + std::string(static_cast<size_t>(kMaxFilterBytes) - id.size(), ' ');
  EXPECT_TRUE(Filter::Parse(longest).ok());
  EXPECT_THAT(std::string(Filter::Parse(longest + " ").status().message()),
              HasSubstr("the limit is 16384"));
  std::string many = id;
  for (int i = 1; i < kMaxFilterComparisons; ++i) many += " OR " + id;
  EXPECT_TRUE(Filter::Parse(many).ok());
  EXPECT_THAT(std::string(Filter::Parse(many + " OR " + id).status().message()),
              HasSubstr("more than 256 comparisons"));
}

}  // namespace
}  // namespace msa::engine
