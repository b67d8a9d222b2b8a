#include "server/retrieve_call.h"

#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "server/message_codec.h"
#include "server/query_conversion.h"
#include "server/request_validation.h"
#include "server/unary_call.h"

namespace msa::server {

std::shared_ptr<RetrieveCall> RetrieveCall::Start(const ServiceContext& service,
                                                  const grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* in,
                                                  grpc::ByteBuffer* out) {
  std::shared_ptr<RetrieveCall> call(new RetrieveCall(service, context, in, out));
  call->self_ = call;
  if (!service.calls->Post([call] { call->Begin(); }))
    call->End(CountRejection(service, TooManyCalls()));
  return call;
}

RetrieveCall::RetrieveCall(const ServiceContext& service,
                           const grpc::CallbackServerContext* context, const grpc::ByteBuffer* in,
                           grpc::ByteBuffer* out)
    : service_(service),
      context_(context),
      in_(in),
      out_(out),
      record_(service, RpcMethod::kRetrieve) {}

absl::StatusOr<std::unique_ptr<engine::RequestHandle>> RetrieveCall::Admit() {
  v1::RetrieveRequest request;
  MSA_RETURN_IF_ERROR(ParseMessage(*in_, &request));
  MSA_RETURN_IF_ERROR(CountRejection(service_, service_.state->CheckReady()));
  MSA_ASSIGN_OR_RETURN(engine::RetrieveRequest engine_request,
                       ToRetrieveRequest(request, service_.limits));
  engine_request.deadline = DeadlineOf(*context_);
  explain_layers_ = request.explain_layers();
  // The call owns itself until its end, so `self` is never the last owner on the engine's thread;
  // the result moves on to the stream runner, because the handle must not be destroyed in its own
  // callback.
  return service_.engine->Retrieve(
      std::move(engine_request),
      [self = shared_from_this()](absl::StatusOr<engine::RetrieveResult> result) mutable {
        TaskRunner* runner = self->service_.streams;
        auto shared = std::make_shared<absl::StatusOr<engine::RetrieveResult>>(std::move(result));
        const bool posted = runner->Post([call = std::move(self), shared] { call->End(*shared); });
        MSA_CHECK(posted, "the stream runner holds at most one task per call");
      });
}

void RetrieveCall::Begin() {
  absl::StatusOr<std::unique_ptr<engine::RequestHandle>> handle = Admit();
  if (!handle.ok()) {
    End(handle.status());
    return;
  }
  std::unique_ptr<engine::RequestHandle> unneeded;
  const std::lock_guard lock(mutex_);
  if (ended_) {  // the result was faster
    unneeded = *std::move(handle);
    return;
  }
  handle_ = *std::move(handle);
  if (cancelled_) handle_->Cancel();
}

void RetrieveCall::End(const absl::StatusOr<engine::RetrieveResult>& result) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = true;
  }
  if (result.ok()) {
    v1::RetrieveResponse response;
    ToProto(*result, explain_layers_, &response);
    *out_ = SerializeMessage(response);
  }
  Finish(record_.End(result.status()));
}

void RetrieveCall::OnCancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  if (handle_ != nullptr && !ended_) handle_->Cancel();
}

void RetrieveCall::OnDone() {
  // Destroyed after the lock.
  std::shared_ptr<RetrieveCall> self;
  std::unique_ptr<engine::RequestHandle> handle;
  const std::lock_guard lock(mutex_);
  self.swap(self_);
  handle.swap(handle_);
}

}  // namespace msa::server
