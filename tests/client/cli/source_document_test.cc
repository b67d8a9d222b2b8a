#include "client/cli/source_document.h"

#include <string>

#include "client/cli/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace msa::client {
namespace {

std::string ErrorOf(std::string_view line) {
  const absl::StatusOr<SourceDocument> document = ParseDocumentLine(line, "docs.jsonl:7");
  if (document.ok()) return "no error";
  EXPECT_EQ(document.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(document.status().message());
}

TEST(MetadataText, WholeNumbersStandWithoutAPoint) {
  EXPECT_EQ(MetadataText({{"page", 3.0}, {"b", true}, {"s", std::string("x")}, {"n", 0.5}}),
            R"({"b":true,"n":0.5,"page":3,"s":"x"})");
}

TEST(ParseDocumentLine, ReadsIdTextAndMetadata) {
  const absl::StatusOr<SourceDocument> document = ParseDocumentLine(
      R"({"id": "a", "text": "é \" \n", "metadata": {"s": "x", "n": 1.5, "i": -3, "b": true}})",
      "f:1");
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ(document->id, "a");
  EXPECT_EQ(document->text, "é \" \n");
  EXPECT_EQ(document->where, "f:1");
  ASSERT_EQ(document->metadata.size(), 4u);
  EXPECT_EQ(document->metadata.at("s"), MetadataValue(std::string("x")));
  EXPECT_EQ(document->metadata.at("n"), MetadataValue(1.5));
  EXPECT_EQ(document->metadata.at("i"), MetadataValue(-3.0));
  EXPECT_EQ(document->metadata.at("b"), MetadataValue(true));
}

TEST(ParseDocumentLine, IntegerIdsBecomeStrings) {
  const absl::StatusOr<SourceDocument> document =
      ParseDocumentLine(R"({"id": 1454247, "text": "t"})", "f:1");
  ASSERT_TRUE(document.ok());
  EXPECT_EQ(document->id, "1454247");
}

TEST(ParseDocumentLine, NullMetadataIsNone) {
  EXPECT_EQ(ErrorOf(R"({"id": "a", "text": "t", "metadata": null})"), "no error");
}

TEST(ParseDocumentLine, NamesPlaceAndFaultOfLinesThatAreNoJson) {
  EXPECT_THAT(ErrorOf(R"({"id": x})"),
              testing::StartsWith("docs.jsonl:7: not JSON at byte 8 of the line: "));
  EXPECT_THAT(ErrorOf(R"({"id": "a", "text": "t")"),
              testing::StartsWith("docs.jsonl:7: not JSON at byte 24"));
  EXPECT_THAT(ErrorOf(R"({"id": "a"} {})"),
              testing::StartsWith("docs.jsonl:7: not JSON at byte 13"));
  EXPECT_EQ(ErrorOf("{\"id\": \"\xFF\"}"), "docs.jsonl:7: not UTF-8 at byte 9 of the line");
}

TEST(ParseDocumentLine, ErrorsAreUtf8WhereTheyCutACharacter) {
  const std::string error = ErrorOf("{\"id\":\u00e9}");
  EXPECT_THAT(error, testing::StartsWith("docs.jsonl:7: not JSON at byte 7 of the line: "));
  EXPECT_EQ(FirstInvalidUtf8Byte(error), std::string::npos) << error;
}

TEST(ParseDocumentLine, NumbersThatNoDoubleHoldsAreAnErrorNotACrash) {
  EXPECT_EQ(ErrorOf(R"({"id": "a", "text": "t", "metadata": {"n": 1e999}})"),
            "docs.jsonl:7: a number is too large; allowed: what fits into 64-bit floating point");
}

TEST(ParseDocumentLine, NamesKeyValueAndWhatIsAllowed) {
  EXPECT_EQ(ErrorOf("[1]"),
            R"(docs.jsonl:7: expected a JSON object {"id", "text", "metadata"}, found array)");
  EXPECT_EQ(ErrorOf(R"({"text": "t"})"), R"(docs.jsonl:7: "id" is missing)");
  EXPECT_EQ(ErrorOf(R"({"id": "a"})"), R"(docs.jsonl:7: "text" is missing)");
  EXPECT_EQ(ErrorOf(R"({"id": "", "text": "t"})"), R"(docs.jsonl:7: "id" is empty)");
  EXPECT_EQ(ErrorOf(R"({"id": "a", "text": ""})"), R"(docs.jsonl:7: "text" is empty)");
  EXPECT_EQ(ErrorOf(R"({"id": 1.5, "text": "t"})"),
            R"(docs.jsonl:7: "id" is number 1.5; allowed: a string or an integer)");
  EXPECT_EQ(ErrorOf(R"({"id": "a", "text": null})"),
            R"(docs.jsonl:7: "text" is null; allowed: a string)");
  EXPECT_EQ(
      ErrorOf(R"({"id": "a", "txt": "t"})"),
      R"(docs.jsonl:7: unknown key "txt"; allowed: id, text, metadata (an object for all else))");
  EXPECT_EQ(ErrorOf(R"({"id": "a", "text": "t", "metadata": {"x": [1]}})"),
            R"(docs.jsonl:7: metadata "x" is array; allowed: a string, a number or a boolean)");
  EXPECT_EQ(ErrorOf(R"({"id": "a", "text": "t", "metadata": 3})"),
            R"(docs.jsonl:7: "metadata" is number 3; allowed: an object)");
}

TEST(ParseDocumentLine, DeepNestingIsAnErrorNotACrash) {
  const std::string deep = R"({"id": "a", "text": "t", "metadata": {"x": )" +
                           std::string(100000, '[') + std::string(100000, ']') + "}}";
  EXPECT_THAT(ErrorOf(deep), testing::HasSubstr("allowed"));
}

TEST(RejectedDocumentLine, CanBeReadAgain) {
  SourceDocument document;
  document.id = "a";
  document.text = "two\nlines";
  document.metadata = {{"s", "x"}, {"n", 2.0}, {"b", false}};
  document.where = "docs.jsonl:3";
  const std::string line =
      RejectedDocumentLine(document, absl::AlreadyExistsError("id a is taken"));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_THAT(
      line, testing::HasSubstr(R"("_error":{"code":"ALREADY_EXISTS","message":"id a is taken"})"));
  const absl::StatusOr<SourceDocument> again = ParseDocumentLine(line, "rejects.jsonl:1");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->id, document.id);
  EXPECT_EQ(again->text, document.text);
  EXPECT_EQ(again->metadata, document.metadata);
}

TEST(RejectedRawLine, HoldsTheLineEvenIfItIsNotUtf8) {
  const std::string line =
      RejectedRawLine("{\xFF", "f:1", absl::InvalidArgumentError("f:1: not UTF-8"));
  EXPECT_THAT(line, testing::HasSubstr(R"("_where":"f:1")"));
  EXPECT_THAT(line, testing::HasSubstr("_line"));
}

}  // namespace
}  // namespace msa::client
