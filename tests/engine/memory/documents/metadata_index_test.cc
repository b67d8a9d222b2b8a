#include "engine/memory/documents/metadata_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace msa::engine {
namespace {

class MetadataIndexTest : public testing::Test {
 protected:
  void Add(uint32_t number, Metadata metadata) {
    index_.Add(number, IdOf(number), metadata);
    documents_[number] = std::move(metadata);
  }
  void Remove(uint32_t number) {
    index_.Remove(number, IdOf(number), documents_[number]);
    documents_.erase(number);
  }

  static std::string IdOf(uint32_t number) { return absl::StrCat("doc-", number % 1000); }

  std::vector<uint32_t> Select(const std::string& text) {
    const auto filter = Filter::Parse(text);
    EXPECT_TRUE(filter.ok()) << filter.status();
    return NumbersOf(index_.Select(*filter));
  }

  // Of a set that may hold documents that are there.
  std::vector<uint32_t> NumbersOf(const DocumentSet& set) {
    std::vector<uint32_t> numbers;
    for (const auto& [number, metadata] : documents_) {
      if (set.Contains(number)) numbers.push_back(number);
    }
    EXPECT_EQ(static_cast<int64_t>(numbers.size()), set.size()) << "a number nobody added";
    return numbers;
  }

  std::vector<uint32_t> SelectOneByOne(const std::string& text) {
    const auto filter = Filter::Parse(text);
    std::vector<uint32_t> numbers;
    for (const auto& [number, metadata] : documents_) {
      if (filter->Matches(IdOf(number), metadata)) numbers.push_back(number);
    }
    return numbers;
  }

  MetadataIndex index_;
  std::map<uint32_t, Metadata> documents_;
};

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(MetadataIndexTest, SelectsByValueRangeAndPresence) {
  Add(1, {{"lang", "en"}, {"year", 2019.0}});
  Add(2, {{"lang", "de"}, {"year", 2020.0}});
  Add(70000, {{"lang", "en"}, {"year", "2021"}});
  Add(4'000'000'000, {});
  EXPECT_THAT(Select("metadata.lang = \"en\""), ElementsAre(1, 70000));
  EXPECT_THAT(Select("metadata.year >= 2019.5"), ElementsAre(2));
  EXPECT_THAT(Select("metadata.year < 3000"), ElementsAre(1, 2));
  EXPECT_THAT(Select("metadata.year:*"), ElementsAre(1, 2, 70000));
  EXPECT_THAT(Select("NOT metadata.year:*"), ElementsAre(4'000'000'000));
  EXPECT_THAT(Select("metadata.lang != \"en\""), ElementsAre(2));
  EXPECT_THAT(Select("metadata.owner:*"), IsEmpty());
  EXPECT_THAT(Select("id = \"doc-2\" OR metadata.lang = \"de\""), ElementsAre(2));
}

TEST_F(MetadataIndexTest, AnIdHasItsVersions) {
  Add(1, {});
  Add(1001, {});  // the same id
  Add(2, {});
  EXPECT_THAT(NumbersOf(index_.SelectIds({"doc-1", "doc-3", "doc-2", "doc-1"})),
              ElementsAre(1, 2, 1001));
  EXPECT_THAT(Select("id = \"doc-1\""), ElementsAre(1, 1001));
  Remove(1);
  EXPECT_THAT(Select("id = \"doc-1\""), ElementsAre(1001));
  EXPECT_THAT(NumbersOf(index_.SelectIds({})), IsEmpty());
}

TEST_F(MetadataIndexTest, WhatIsRemovedLeavesNothing) {
  const int64_t empty = index_.resident_bytes();
  for (uint32_t number = 1; number <= 100; ++number) {
    Add(number, {{absl::StrCat("key", number % 7), absl::StrCat("a value ", number)}});
  }
  EXPECT_GT(index_.resident_bytes(), empty);
  for (uint32_t number = 1; number <= 100; ++number) Remove(number);
  EXPECT_THAT(Select("NOT id = \"none\""), IsEmpty());
  // The block of numbers stays.
  EXPECT_LT(index_.resident_bytes(), empty + 65536 / 8 + 1024);
}

// A random filter of a small language over few keys and values, so that most comparisons meet.
std::string RandomFilter(std::mt19937& random, int depth) {
  const auto pick = [&](auto... options) {
    const std::vector<std::string> all{options...};
    return all[random() % all.size()];
  };
  if (depth == 0 || random() % 3 == 0) {
    if (random() % 8 == 0) {
      return absl::StrCat("id ", pick("=", "!="), " \"doc-", random() % 60, "\"");
    }
    const std::string key = absl::StrCat("metadata.", pick("a", "b", "\"c d\"", "none"));
    switch (random() % 5) {
      case 0:
        return absl::StrCat(key, ":*");
      case 1:
        return absl::StrCat(key, pick("=", "!="), pick("true", "false"));
      case 2:
        return absl::StrCat(key, " ", pick("=", "!=", "<", "<=", ">", ">="), " \"v", random() % 4,
                            "\"");
      default:
        return absl::StrCat(key, " ", pick("=", "!=", "<", "<=", ">", ">="), " ",
                            static_cast<int>(random() % 5) - 2);
    }
  }
  if (random() % 4 == 0) return absl::StrCat("NOT (", RandomFilter(random, depth - 1), ")");
  const std::string connective = pick(" AND ", " OR ");
  std::string text = absl::StrCat("(", RandomFilter(random, depth - 1), ")");
  for (uint32_t i = 0; i < 1 + random() % 3; ++i) {
    absl::StrAppend(&text, connective, "(", RandomFilter(random, depth - 1), ")");
  }
  return text;
}

Metadata RandomMetadata(std::mt19937& random) {
  Metadata metadata;
  for (const char* const key : {"a", "b", "c d"}) {
    switch (random() % 4) {
      case 0:
        metadata[key] = random() % 2 == 0;
        break;
      case 1:
        metadata[key] = absl::StrCat("v", random() % 4);
        break;
      case 2:
        metadata[key] = static_cast<double>(random() % 5) - 2;
        break;
      default:
        break;
    }
  }
  return metadata;
}

TEST_F(MetadataIndexTest, AgreesWithLookingAtEveryDocument) {
  std::mt19937 random(20);
  for (int round = 0; round < 2000; ++round) {
    const auto number = static_cast<uint32_t>(random() % 60 + (random() % 2) * 65500);
    if (documents_.contains(number)) Remove(number);
    if (random() % 3 != 0) Add(number, RandomMetadata(random));
    const std::string filter = RandomFilter(random, 3);
    ASSERT_EQ(Select(filter), SelectOneByOne(filter)) << filter;
  }
}

}  // namespace
}  // namespace msa::engine
