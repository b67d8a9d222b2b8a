#include "server/message_codec.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/error_detail.h"
#include "msa/v1/memory_service.pb.h"
#include "msa/v1/query_service.pb.h"

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

}  // namespace
}  // namespace msa::server
