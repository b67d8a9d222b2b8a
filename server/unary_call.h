#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "kernels/core/error_detail.h"
#include "server/call_record.h"
#include "server/message_codec.h"
#include "server/service_context.h"

namespace msa::server {

// Too many calls wait for a thread.
inline absl::Status TooManyCalls() {
  return kernels::WithDetail(
      absl::ResourceExhaustedError("too many calls are waiting for a thread of the server"),
      {.reason = "TOO_MANY_CALLS",
       .field = "",
       .metadata = {},
       .retry_after = absl::Milliseconds(200)});
}

// `refusal` of a query that the engine does not get to see; the engine reports its own.
inline absl::Status CountRejection(const ServiceContext& service, absl::Status refusal) {
  if (!refusal.ok()) service.metrics->RequestRejected(refusal);
  return refusal;
}

// Runs `handler(const Request&, Response*) -> absl::Status` on a thread that may block, with
// parsing, metrics and errors around it.
template <class Request, class Response, class Handler>
grpc::ServerUnaryReactor* RunUnary(const ServiceContext& service, RpcMethod method,
                                   grpc::CallbackServerContext* context, const grpc::ByteBuffer* in,
                                   grpc::ByteBuffer* out, Handler handler) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  auto record = std::make_shared<CallRecord>(service, method);
  const bool posted = service.calls->Post([=, handler = std::move(handler)]() mutable {
    Request request;
    Response response;
    absl::Status status = ParseMessage(*in, &request);
    if (status.ok()) status = handler(request, &response);
    if (status.ok()) *out = SerializeMessage(response);
    reactor->Finish(record->End(status));
  });
  if (!posted) reactor->Finish(record->End(TooManyCalls()));
  return reactor;
}

// The same where the answer comes later from a thread of the engine:
// `handler(const Request&, reply) -> absl::Status` calls `reply(status, response)` once, unless it
// returns an error.
template <class Request, class Response, class Handler>
grpc::ServerUnaryReactor* RunDeferredUnary(const ServiceContext& service, RpcMethod method,
                                           grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                           Handler handler) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  auto record = std::make_shared<CallRecord>(service, method);
  const auto reply = [=](const absl::Status& status, const Response& response) {
    if (status.ok()) *out = SerializeMessage(response);
    reactor->Finish(record->End(status));
  };
  const bool posted = service.calls->Post([=, handler = std::move(handler)]() mutable {
    Request request;
    absl::Status status = ParseMessage(*in, &request);
    if (status.ok()) status = handler(request, reply);
    if (!status.ok()) reactor->Finish(record->End(status));
  });
  if (!posted) reactor->Finish(record->End(TooManyCalls()));
  return reactor;
}

}  // namespace msa::server
