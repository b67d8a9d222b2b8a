#pragma once

#include "absl/status/statusor.h"
#include "client/cpp/connection.h"

namespace msa::client {

// A unary call with its retries; `repeatable` as in Connection::Retrying.
template <class Stub, class Request, class Response>
absl::StatusOr<Response> CallUnary(Connection* connection, Stub& stub,
                                   grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                const Request&, Response*),
                                   const Request& request, bool repeatable) {
  Response response;
  const absl::Status status = connection->Retrying(repeatable, [&](grpc::ClientContext* context) {
    return (stub.*method)(context, request, &response);
  });
  if (!status.ok()) return status;
  return response;
}

}  // namespace msa::client
