#include "server/message_codec.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/error_detail.h"
#include "msa/v1/memory_service.pb.h"
#include "msa/v1/query_service.pb.h"
#include "server/utf8.h"

namespace msa::server {
namespace {

using ::testing::HasSubstr;

grpc::ByteBuffer Bytes(const std::string& text, size_t slice_size = SIZE_MAX) {
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < text.size(); i += std::min(slice_size, text.size() - i)) {
    slices.emplace_back(text.substr(i, slice_size));
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

TEST(MessageCodec, RoundTripsInOneSliceAndInMany) {
  v1::RetrieveRequest request;
  request.set_bank("b");
  request.set_question(std::string(1000, 'q'));
  for (const size_t slice_size : {size_t{1}, size_t{7}, size_t{100'000}}) {
    v1::RetrieveRequest parsed;
    ASSERT_TRUE(ParseMessage(Bytes(request.SerializeAsString(), slice_size), &parsed).ok());
    EXPECT_EQ(parsed.question(), request.question());
  }
  v1::RetrieveRequest again;
  ASSERT_TRUE(ParseMessage(SerializeMessage(request), &again).ok());
  EXPECT_EQ(again.SerializeAsString(), request.SerializeAsString());
}

TEST(MessageCodec, EmptyMessageRoundTrips) {
  v1::ListBanksRequest request;
  EXPECT_TRUE(ParseMessage(SerializeMessage(request), &request).ok());
}

TEST(MessageCodec, StringThatIsNotUtf8NamesItsFieldAndLeavesTheRest) {
  v1::IngestDocumentsRequest request;
  request.mutable_document()->set_sequence(17);
  request.mutable_document()->set_document_id("ok");
  request.mutable_document()->set_text("bad \xc3\x28");
  v1::IngestDocumentsRequest parsed;
  const absl::Status status = ParseMessage(Bytes(request.SerializeAsString()), &parsed);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(kernels::DetailOf(status).reason, "INVALID_UTF8");
  EXPECT_EQ(kernels::DetailOf(status).field, "document.text");
  EXPECT_EQ(parsed.document().sequence(), 17U);
  EXPECT_EQ(parsed.document().document_id(), "ok");
  EXPECT_TRUE(parsed.document().text().empty());
}

TEST(MessageCodec, MetadataKeysAndValuesAreCheckedToo) {
  v1::IngestDocumentsRequest request;
  (*request.mutable_document()->mutable_metadata())["\xff"].set_bool_value(true);
  v1::IngestDocumentsRequest parsed;
  EXPECT_EQ(kernels::DetailOf(ParseMessage(Bytes(request.SerializeAsString()), &parsed)).field,
            "document.metadata.key");
  request.mutable_document()->clear_metadata();
  (*request.mutable_document()->mutable_metadata())["k"].set_string_value("\xed\xa0\x80");
  EXPECT_EQ(kernels::DetailOf(ParseMessage(Bytes(request.SerializeAsString()), &parsed)).field,
            "document.metadata.value.string_value");
}

TEST(MessageCodec, BytesThatAreNoMessageAreRefused) {
  for (const std::string& bytes : {std::string("\x0a\xff\xff\xff\xff\x7f"),
                                   std::string("\xff\xff\xff"), std::string(1, '\x07')}) {
    v1::RetrieveRequest parsed;
    const absl::Status status = ParseMessage(Bytes(bytes), &parsed);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(kernels::DetailOf(status).reason, "MALFORMED_MESSAGE");
    EXPECT_THAT(std::string(status.message()), HasSubstr("msa.v1.RetrieveRequest"));
  }
}

TEST(Utf8, FollowsTheStandardsTable) {
  for (const char* good :
       {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(good));
  }
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xe1\x80", "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "ok\xfe"}) {
    EXPECT_FALSE(IsUtf8(bad));
  }
}

TEST(Utf8, SafeTextIsCutBetweenCharacters) {
  EXPECT_EQ(ToSafeUtf8("a\xc3\xa4\xc3\xa4", 4), "a\xc3\xa4");
  EXPECT_EQ(ToSafeUtf8("a\xff"
                       "b",
                       10),
            "a?b");
  EXPECT_EQ(ToSafeUtf8("abc", 0), "");
}

}  // namespace
}  // namespace msa::server
