#include "server/generate_call.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "grpc/grpc.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "server/message_codec.h"
#include "server/query_conversion.h"
#include "server/request_validation.h"
#include "server/unary_call.h"

namespace msa::server {
namespace {

// As in the metric table.
std::string MetricValueOf(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kStop:
      return "stop";
    case engine::FinishReason::kStopString:
      return "stop_string";
    case engine::FinishReason::kMaxAnswerTokens:
      return "max_answer_tokens";
    case engine::FinishReason::kNoAnswer:
      return "no_answer";
    case engine::FinishReason::kMaxRetrievalTokens:
      return "max_retrieval_tokens";
    case engine::FinishReason::kMaxRounds:
      return "max_rounds";
    case engine::FinishReason::kMaxExpansion:
      return "max_expansion";
  }
  return "error";
}

std::string MetricValueOf(const absl::Status& status) {
  if (status.code() == absl::StatusCode::kCancelled) return "cancelled";
  if (status.code() == absl::StatusCode::kDeadlineExceeded) return "deadline";
  return "error";
}

absl::Status StalledReader(absl::Duration timeout) {
  return absl::ResourceExhaustedError(
      absl::StrCat("the stream was not read for ", absl::FormatDuration(timeout)));
}

}  // namespace

std::shared_ptr<GenerateCall> GenerateCall::Start(const ServiceContext& service,
                                                  grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* in) {
  std::shared_ptr<GenerateCall> call(new GenerateCall(service, context, in));
  call->self_ = call;
  if (!service.calls->Post([call] { call->Begin(); })) {
    const std::lock_guard lock(call->mutex_);
    call->End(CountRejection(service, TooManyCalls()));
  }
  return call;
}

GenerateCall::GenerateCall(const ServiceContext& service, grpc::CallbackServerContext* context,
                           const grpc::ByteBuffer* in)
    : service_(service), context_(context), in_(in), record_(service, RpcMethod::kGenerate) {
  service_.metrics->StreamOpened(RpcMethod::kGenerate);
}

engine::QueryLimits GenerateCall::DefaultsOf(const std::string& bank) const {
  const auto found = service_.engine->banks().Get(bank);
  if (!found.ok()) return {};  // the engine refuses the question, with the reason
  return (*found)->Info().settings.default_limits;
}

absl::StatusOr<std::unique_ptr<engine::GenerateStream>> GenerateCall::Admit() {
  v1::GenerateRequest request;
  MSA_RETURN_IF_ERROR(ParseMessage(*in_, &request));
  MSA_RETURN_IF_ERROR(CountRejection(service_, service_.state->CheckReady()));
  MSA_ASSIGN_OR_RETURN(engine::GenerateRequest engine_request,
                       ToGenerateRequest(request, service_.limits, DefaultsOf(request.bank())));
  engine_request.deadline = DeadlineOf(*context_);
  explain_layers_ = request.explain_layers();
  return service_.engine->Generate(std::move(engine_request), [this] { SchedulePump(); });
}

// The task that is queued takes ownership for a moment, never the thread that queues it: the
// engine's must not destroy the stream, and the timeout's may go on when the server has ended.
void GenerateCall::SchedulePump() {
  if (pump_scheduled_.exchange(true)) return;
  const bool posted = service_.streams->Post([weak = weak_from_this()] {
    if (const std::shared_ptr<GenerateCall> call = weak.lock()) {
      call->pump_scheduled_.store(false);
      const std::lock_guard lock(call->mutex_);
      call->Pump();
    }
  });
  MSA_CHECK(posted, "the stream runner holds at most one task per stream");
}

void GenerateCall::Begin() {
  absl::StatusOr<std::unique_ptr<engine::GenerateStream>> stream = Admit();
  const std::lock_guard lock(mutex_);
  if (!stream.ok()) {
    End(stream.status());
    return;
  }
  stream_ = *std::move(stream);
  Pump();
}

void GenerateCall::Pump() {
  if (ended_ || stream_ == nullptr) return;
  if (writing_) {
    WatchWrite();
    return;
  }
  if (stalled_) {
    End(StalledReader(service_.stalled_reader_timeout));
    return;
  }
  if (cancelled_) {
    End(absl::Now() >= DeadlineOf(*context_)
            ? absl::DeadlineExceededError("the deadline passed")
            : absl::CancelledError("the client cancelled the call"));
    return;
  }
  engine::QueryEvent event;
  switch (stream_->TryRead(&event)) {
    case engine::GenerateStream::ReadState::kEvent:
      StartWriting(event);
      return;
    case engine::GenerateStream::ReadState::kPending:
      return;
    case engine::GenerateStream::ReadState::kEnd:
      break;
  }
  const absl::Status status = stream_->status();
  End(status.ok() && finish_reason_.empty()
          ? absl::InternalError("the answer ended without its last event")
          : status);
}

void GenerateCall::StartWriting(const engine::QueryEvent& event) {
  if (const auto* finished = std::get_if<engine::FinishedEvent>(&event))
    finish_reason_ = MetricValueOf(finished->reason);
  v1::GenerateResponse response;
  ToProto(event, explain_layers_, &response);
  outgoing_ = SerializeMessage(response);
  writing_ = true;
  write_start_ = std::chrono::steady_clock::now();
  StartWrite(&outgoing_);
  WatchWrite();
}

// The write ends when the client has room for it, or here: a status alone would wait behind it.
void GenerateCall::WatchWrite() {
  if (stalled_) return;
  const absl::Duration left = service_.stalled_reader_timeout -
                              absl::FromChrono(std::chrono::steady_clock::now() - write_start_);
  if (left > absl::ZeroDuration()) {
    write_timeout_.Start(left);
    return;
  }
  stalled_ = true;
  stream_->Cancel();
  // What TryCancel does, but with a code and words of our own.
  const absl::Status status = StalledReader(service_.stalled_reader_timeout);
  grpc_call_cancel_with_status(context_->c_call(), GRPC_STATUS_RESOURCE_EXHAUSTED,
                               std::string(status.message()).c_str(), nullptr);
}

void GenerateCall::End(const absl::Status& status) {
  if (ended_) return;
  ended_ = true;
  if (stream_ != nullptr) {
    stream_->Cancel();
    service_.metrics->AnswerEnded(status.ok() ? finish_reason_ : MetricValueOf(status));
  }
  Finish(record_.End(status));
}

void GenerateCall::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  if (!ok) cancelled_ = true;
  Pump();
}

void GenerateCall::OnCancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  if (stream_ != nullptr && !ended_) stream_->Cancel();
  Pump();
}

void GenerateCall::OnDone() {
  service_.metrics->StreamClosed(RpcMethod::kGenerate);
  // Destroyed after the lock.
  std::shared_ptr<GenerateCall> self;
  std::unique_ptr<engine::GenerateStream> stream;
  const std::lock_guard lock(mutex_);
  write_timeout_.Stop();
  self.swap(self_);
  stream.swap(stream_);
}

}  // namespace msa::server
