#include "client/cpp/error_details.h"

#include "google/rpc/error_details.pb.h"
#include "grpcpp/support/status.h"
#include "gtest/gtest.h"

namespace msa::client {
namespace {

google::rpc::Status TooLarge() {
  google::rpc::ErrorInfo info;
  info.set_reason("DOCUMENT_TOO_LARGE");
  info.set_domain("msa.dev");
  (*info.mutable_metadata())["limit"] = "8192";
  (*info.mutable_metadata())["actual"] = "9000";
  google::rpc::BadRequest bad_request;
  bad_request.add_field_violations()->set_field("document.text");
  google::rpc::Status status;
  status.set_code(static_cast<int>(absl::StatusCode::kInvalidArgument));
  status.set_message("the document has 9000 tokens;\nallowed: 8192");
  status.add_details()->PackFrom(info);
  status.add_details()->PackFrom(bad_request);
  return status;
}

TEST(ErrorDetails, CodeMessageAndDetailsSurviveBothWays) {
  const google::rpc::Status proto = TooLarge();
  const grpc::Status call(grpc::StatusCode::INVALID_ARGUMENT, proto.message(),
                          proto.SerializeAsString());
  for (const absl::Status& status : {ToAbslStatus(proto), ToAbslStatus(call)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    const ErrorDetails details = DetailsOf(status);
    EXPECT_EQ(details.reason, "DOCUMENT_TOO_LARGE");
    EXPECT_EQ(details.field, "document.text");
    EXPECT_EQ(details.metadata.at("limit"), "8192");
    EXPECT_FALSE(details.retry_delay.has_value());
    EXPECT_EQ(DescribeError(status),
              "INVALID_ARGUMENT: the document has 9000 tokens; allowed: 8192 "
              "(DOCUMENT_TOO_LARGE, actual 9000, limit 8192)");
  }
}

TEST(ErrorDetails, PlainAndDamagedStatusesHaveNone) {
  const grpc::Status plain(grpc::StatusCode::UNAVAILABLE, "failed to connect");
  EXPECT_EQ(DescribeError(ToAbslStatus(plain)), "UNAVAILABLE: failed to connect");
  const grpc::Status damaged(grpc::StatusCode::INTERNAL, "x", "\xFF\xFF\xFF");
  EXPECT_EQ(DetailsOf(ToAbslStatus(damaged)).reason, "");
  EXPECT_TRUE(ToAbslStatus(grpc::Status::OK).ok());
  EXPECT_TRUE(ToAbslStatus(google::rpc::Status()).ok());
}

}  // namespace
}  // namespace msa::client
