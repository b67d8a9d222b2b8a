#include "client/cpp/error_details.h"

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/support/status.h"

namespace msa::client {
namespace {

constexpr char kPayloadUrl[] = "type.googleapis.com/google.rpc.Status";

}  // namespace

absl::Status ToAbslStatus(const google::rpc::Status& status) {
  if (status.code() == 0) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.code());
  absl::Status converted(code, status.message());
  if (status.details_size() > 0)
    converted.SetPayload(kPayloadUrl, absl::Cord(status.SerializeAsString()));
  return converted;
}

absl::Status ToAbslStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // A status that never met the server, as of a failed connection, has no details.
  absl::Status converted(static_cast<absl::StatusCode>(status.error_code()),
                         status.error_message());
  google::rpc::Status details;
  if (!status.error_details().empty() && details.ParseFromString(status.error_details()) &&
      details.details_size() > 0) {
    converted.SetPayload(kPayloadUrl, absl::Cord(status.error_details()));
  }
  return converted;
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details;
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  google::rpc::Status proto;
  if (!payload.has_value() || !proto.ParseFromString(std::string(*payload))) return details;
  for (const google::protobuf::Any& any : proto.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;
    google::rpc::BadRequest bad_request;
    if (any.UnpackTo(&info)) {
      details.reason = info.reason();
      details.metadata.insert(info.metadata().begin(), info.metadata().end());
    } else if (any.UnpackTo(&retry)) {
      details.retry_delay = absl::Seconds(retry.retry_delay().seconds()) +
                            absl::Nanoseconds(retry.retry_delay().nanos());
    } else if (any.UnpackTo(&bad_request) && bad_request.field_violations_size() > 0) {
      details.field = bad_request.field_violations(0).field();
    }
  }
  return details;
}

std::string DescribeError(const absl::Status& status) {
  if (status.ok()) return "OK";
  const ErrorDetails details = DetailsOf(status);
  std::string text = absl::StrCat(absl::StatusCodeToString(status.code()), ": ",
                                  absl::StrReplaceAll(status.message(), {{"\n", " "}}));
  if (!details.reason.empty()) {
    absl::StrAppend(&text, " (", details.reason);
    for (const auto& [key, value] : details.metadata) absl::StrAppend(&text, ", ", key, " ", value);
    absl::StrAppend(&text, ")");
  }
  return text;
}

}  // namespace msa::client
