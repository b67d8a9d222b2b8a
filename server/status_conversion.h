#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

// The one place where the engine's errors become the API's.
namespace msa::server {

// What the client may see: the code, the message and, from kernels::ErrorDetail, ErrorInfo (always;
// without a reason of its own the code's name), BadRequest (where a field is at fault) and
// RetryInfo (where waiting helps). INTERNAL and UNKNOWN say nothing of their cause: they get an
// opaque incident id, and the cause is logged beside it. `where` is for that log line, e.g. the
// method. OK gives an empty message.
google::rpc::Status ToRpcStatus(const absl::Status& status, std::string_view where);

// The same as the end of a call: google.rpc.Status in the trailer grpc-status-details-bin.
grpc::Status ToGrpcStatus(const absl::Status& status, std::string_view where);

// ErrorInfo.domain.
inline constexpr char kErrorDomain[] = "msa.dev";

}  // namespace msa::server
