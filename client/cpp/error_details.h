#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/rpc/status.pb.h"

namespace grpc {
class Status;
}

// What the server says about an error beside its code and message.
namespace msa::client {

struct ErrorDetails {
  std::string reason;  // "DOCUMENT_TOO_LARGE"; see proto/msa/v1/error.proto; may be empty
  std::map<std::string, std::string> metadata;  // facts such as limit and actual
  std::string field;                            // the request field that is wrong; may be empty
  std::optional<absl::Duration> retry_delay;    // set where waiting helps
};

// The status of a call, or of one document in an ingest stream, as absl::Status. The details travel
// as a payload.
absl::Status ToAbslStatus(const grpc::Status& status);
absl::Status ToAbslStatus(const google::rpc::Status& status);

// Empty where the status has none.
ErrorDetails DetailsOf(const absl::Status& status);

// "CODE: message (REASON, key value, …)" on one line. The message of an OK status is "OK".
std::string DescribeError(const absl::Status& status);

}  // namespace msa::client
