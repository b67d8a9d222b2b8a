#include "engine/memory/documents/document_rules.h"

#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/escaping.h"
#include "engine/memory/documents/metadata_json.h"

namespace msa::engine {
namespace {

DocumentInput Input(const std::string& id, const std::string& text, Metadata metadata = {}) {
  return {.id = id, .text = text, .metadata = std::move(metadata), .number = {}};
}

bool Accepts(const DocumentInput& input) { return CheckDocument(input, 1000, 100).ok(); }

TEST(DocumentRulesTest, BankNames) {
  for (const std::string& name :
       {std::string("a"), std::string("0"), std::string("a-b_c9"), std::string(64, 'z')}) {
    EXPECT_TRUE(CheckBankName(name).ok()) << name;
  }
  EXPECT_FALSE(CheckBankName(std::string(65, 'z')).ok());
  for (const char* name :
       {"", "A", "-a", "_a", ".", "..", "a/b", "a b", "ä", ".creating-a", ".removed-0-a"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(CheckBankName(name))) << name;
  }
}

TEST(DocumentRulesTest, IdsAreUtf8WithoutControlCharacters) {
  for (const std::string& id : {std::string("a"), std::string(512, 'x'), std::string("a b/ü中")}) {
    EXPECT_TRUE(Accepts(Input(id, "x"))) << id;
  }
  for (const std::string& id :
       {std::string(), std::string(513, 'x'), std::string("a\nb"), std::string("a\0b", 3),
        std::string("\x7f"), std::string("\xc2\x85"), std::string("\xe4")}) {
    EXPECT_FALSE(Accepts(Input(id, "x"))) << id;
  }
}

TEST(DocumentRulesTest, TextIsWellFormedUtf8) {
  for (const char* text : {"", "x", "\n\t", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(Accepts(Input("a", text)));
  }
  for (const char* text :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2x", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "x\xf0\x90\x80"}) {
    EXPECT_FALSE(Accepts(Input("a", text))) << absl::CHexEscape(text);
  }
  EXPECT_TRUE(Accepts(Input("a", std::string(1000, 'x'))));
  EXPECT_FALSE(Accepts(Input("a", std::string(1001, 'x'))));
}

TEST(DocumentRulesTest, MetadataIsFlatAndSmall) {
  EXPECT_TRUE(Accepts(Input("a", "x", {{"k", std::string(99, 'v')}})));
  EXPECT_FALSE(Accepts(Input("a", "x", {{"k", std::string(100, 'v')}})));
  EXPECT_FALSE(Accepts(Input("a", "x", {{"", true}})));
  EXPECT_FALSE(Accepts(Input("a", "x", {{"k", std::string("\xff")}})));
  EXPECT_FALSE(Accepts(Input("a", "x", {{"k", std::numeric_limits<double>::infinity()}})));
  EXPECT_FALSE(Accepts(Input("a", "x", {{"k", std::numeric_limits<double>::quiet_NaN()}})));
}

TEST(DocumentRulesTest, MetadataReadsBackFromJsonAsItWas) {
  const Metadata metadata = {{"text", std::string("a \"quoted\"\n\\ ü")},
                             {"empty", std::string()},
                             {"whole", 3.0},
                             {"large", 1e300},
                             {"small", 0.1},
                             {"negative zero", -0.0},
                             {"yes", true},
                             {"no", false}};
  const auto back = MetadataFromJson(ToJson(metadata));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, metadata);
  EXPECT_EQ(ToJson(Metadata()), "{}");
  for (const char* json : {"", "[]", "{", "{\"a\":[]}", "{\"a\":null}", "1"}) {
    EXPECT_TRUE(absl::IsDataLoss(MetadataFromJson(json).status())) << json;
  }
}

}  // namespace
}  // namespace msa::engine
