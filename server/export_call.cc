#include "server/export_call.h"

#include <utility>

#include "absl/time/clock.h"
#include "kernels/core/status_macros.h"
#include "msa/v1/memory_service.pb.h"
#include "server/document_page.h"
#include "server/memory_validation.h"
#include "server/message_codec.h"
#include "server/request_validation.h"
#include "server/unary_call.h"

namespace msa::server {

ExportCall* ExportCall::Start(const ServiceContext& service,
                              const grpc::CallbackServerContext* context,
                              const grpc::ByteBuffer* in) {
  const std::shared_ptr<ExportCall> call(new ExportCall(service, context));
  call->self_ = call;
  if (!service.calls->Post([call, in] { call->Begin(*in); })) call->End(TooManyCalls());
  return call.get();  // owns itself
}

ExportCall::ExportCall(const ServiceContext& service, const grpc::CallbackServerContext* context)
    : service_(service), context_(context), record_(service, RpcMethod::kExportDocuments) {
  service_.metrics->StreamOpened(RpcMethod::kExportDocuments);
}

absl::Status ExportCall::Open(const grpc::ByteBuffer& in) {
  v1::ExportDocumentsRequest request;
  MSA_RETURN_IF_ERROR(ParseMessage(in, &request));
  MSA_RETURN_IF_ERROR(service_.state->CheckReady());
  MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
  if (!request.filter().empty()) {
    MSA_ASSIGN_OR_RETURN(filter_, engine::Filter::Parse(request.filter()));
  }
  MSA_ASSIGN_OR_RETURN(bank_, service_.engine->banks().Get(request.bank()));
  return absl::OkStatus();
}

void ExportCall::Begin(const grpc::ByteBuffer& in) {
  const absl::Status opened = Open(in);
  if (!opened.ok()) {
    End(opened);
    return;
  }
  WriteNextPage();
}

absl::StatusOr<std::optional<grpc::ByteBuffer>> ExportCall::NextPage() {
  while (!is_at_end_ && !cancelled_.load()) {
    v1::ExportDocumentsResponse response;
    const PageRequest page{.after_id = after_id_,
                           .size = kMaxPageSize,
                           .with_text = true,
                           .filter = filter_ ? &*filter_ : nullptr};
    MSA_ASSIGN_OR_RETURN(after_id_, ReadPage(*bank_, page, response.mutable_documents()));
    is_at_end_ = after_id_.empty();
    if (!response.documents().empty()) return SerializeMessage(response);
  }
  return std::nullopt;
}

void ExportCall::WriteNextPage() {
  absl::StatusOr<std::optional<grpc::ByteBuffer>> page = NextPage();
  if (cancelled_.load()) {
    End(absl::Now() >= DeadlineOf(*context_)
            ? absl::DeadlineExceededError("the deadline passed")
            : absl::CancelledError("the client cancelled the call"));
  } else if (!page.ok() || !page->has_value()) {
    End(page.status());
  } else {
    outgoing_ = **std::move(page);
    StartWrite(&outgoing_);
  }
}

void ExportCall::OnWriteDone(bool ok) {
  if (!ok) cancelled_.store(true);
  if (!service_.calls->Post([call = shared_from_this()] { call->WriteNextPage(); }))
    End(TooManyCalls());
}

void ExportCall::End(const absl::Status& status) { Finish(record_.End(status)); }

void ExportCall::OnDone() {
  service_.metrics->StreamClosed(RpcMethod::kExportDocuments);
  const std::shared_ptr<ExportCall> self = std::move(self_);  // destroyed last
}

}  // namespace msa::server
