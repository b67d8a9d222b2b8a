#include "server/ingest_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "server/memory_conversion.h"
#include "server/message_codec.h"
#include "server/request_validation.h"
#include "server/status_conversion.h"

namespace msa::server {
namespace {

absl::Status WrongOrder(const std::string& field, const std::string& message) {
  return InvalidField(field, "INVALID_SEQUENCE", message);
}

}  // namespace

std::shared_ptr<IngestStream> IngestStream::Open(const ServiceContext& service,
                                                 const grpc::CallbackServerContext* context,
                                                 std::function<void()> on_done) {
  std::shared_ptr<IngestStream> stream(new IngestStream(service, context, std::move(on_done)));
  const std::lock_guard lock(stream->mutex_);
  stream->self_ = stream;
  stream->end_status_ = service.state->CheckReady();
  stream->Advance();
  return stream;
}

IngestStream::IngestStream(const ServiceContext& service,
                           const grpc::CallbackServerContext* context,
                           std::function<void()> on_done)
    : service_(service),
      context_(context),
      on_done_(std::move(on_done)),
      record_(service, RpcMethod::kIngestDocuments) {
  service_.metrics->StreamOpened(RpcMethod::kIngestDocuments);
}

void IngestStream::EndWith(const absl::Status& status) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  if (end_status_.ok()) end_status_ = status;
  Advance();
}

void IngestStream::OnReadDone(bool ok) {
  std::unique_lock lock(mutex_);
  if (!ok) {
    reading_ = false;
    half_closed_ = true;
    cancelled_ = cancelled_ || context_->IsCancelled();
    Advance();
    return;
  }
  grpc::ByteBuffer bytes;
  bytes.Swap(&incoming_);
  if (end_status_.ok() && !finished_) {
    v1::IngestDocumentsRequest message;
    const absl::Status parsed = ParseMessage(bytes, &message);
    const absl::Status status = OnMessage(std::move(message), parsed, &lock);
    if (end_status_.ok()) end_status_ = status;
  }
  reading_ = false;  // only now: the next message must not overtake this one
  Advance();
}

absl::Status IngestStream::OnMessage(v1::IngestDocumentsRequest message, const absl::Status& parsed,
                                     std::unique_lock<std::mutex>* lock) {
  switch (message.message_case()) {
    case v1::IngestDocumentsRequest::kStart:
      return OnStart(message.start(), parsed);
    case v1::IngestDocumentsRequest::kDocument:
      return OnDocument(std::move(*message.mutable_document()), parsed, lock);
    case v1::IngestDocumentsRequest::MESSAGE_NOT_SET:
      break;
  }
  MSA_RETURN_IF_ERROR(parsed);
  return InvalidField("message", "MISSING_FIELD", "the message holds neither start nor document");
}

absl::Status IngestStream::OnStart(const v1::IngestStart& start, const absl::Status& parsed) {
  MSA_RETURN_IF_ERROR(parsed);
  if (bank_ != nullptr) return WrongOrder("start", "start was sent twice; it comes once, first");
  if (start.bank().empty())
    return InvalidField("start.bank", "MISSING_FIELD", "start.bank must not be empty");
  MSA_ASSIGN_OR_RETURN(mode_, ToIngestMode(start.mode()));
  MSA_ASSIGN_OR_RETURN(level_, ToAcknowledgeAt(start.acknowledge_at()));
  MSA_ASSIGN_OR_RETURN(bank_, service_.engine->banks().Get(start.bank()));
  start_time_ = absl::Now();
  v1::IngestStarted* started = started_.emplace().mutable_started();
  started->set_max_in_flight_documents(service_.limits.max_in_flight_documents);
  started->set_max_in_flight_bytes(service_.limits.max_in_flight_bytes);
  started->set_max_document_bytes(service_.limits.max_document_bytes);
  started->set_revision(bank_->Info().revision);
  return absl::OkStatus();
}

absl::Status IngestStream::OnDocument(v1::IngestDocument document, const absl::Status& parsed,
                                      std::unique_lock<std::mutex>* lock) {
  if (bank_ == nullptr) return WrongOrder("document", "a document was sent before start");
  const uint64_t sequence = document.sequence();
  if (last_sequence_ && sequence <= *last_sequence_) {
    return WrongOrder("document.sequence",
                      absl::StrCat("document.sequence is ", sequence, " after ", *last_sequence_,
                                   "; sequence numbers must ascend"));
  }
  last_sequence_ = sequence;

  Result refused;
  refused.sequence = sequence;
  refused.num_bytes = static_cast<int64_t>(document.text().size());
  refused.result.id = document.document_id();
  ++documents_in_flight_;
  bytes_in_flight_ += refused.num_bytes;
  absl::StatusOr<engine::DocumentInput> input =
      parsed.ok() ? ToDocumentInput(std::move(document), service_.limits) : parsed;
  if (!input.ok()) {  // one bad document does not end the stream
    refused.result.status = input.status();
    results_.push_back(std::move(refused));
    return absl::OkStatus();
  }
  auto done = [weak = weak_from_this(), sequence,
               num_bytes = refused.num_bytes](engine::IngestResult result) {
    const std::shared_ptr<IngestStream> stream = weak.lock();
    if (stream == nullptr) return;  // the client has gone; the document stays
    const std::lock_guard stream_lock(stream->mutex_);
    stream->results_.push_back({std::move(result), sequence, num_bytes});
    stream->SchedulePump();
  };
  const std::shared_ptr<engine::Bank> bank = bank_;
  const engine::IngestMode mode = mode_;
  const engine::AcknowledgeAt level = level_;
  lock->unlock();  // `done` may be called at once
  bank->Ingest(*std::move(input), mode, level, std::move(done));
  lock->lock();
  return absl::OkStatus();
}

void IngestStream::SchedulePump() {
  if (pump_scheduled_ || finished_) return;
  pump_scheduled_ = true;
  const bool posted = service_.streams->Post([weak = weak_from_this()] {
    const std::shared_ptr<IngestStream> stream = weak.lock();
    if (stream == nullptr) return;
    const std::lock_guard stream_lock(stream->mutex_);
    stream->pump_scheduled_ = false;
    stream->Advance();
  });
  MSA_CHECK(posted, "the stream runner holds at most one task per stream");
}

void IngestStream::Advance() {
  if (finished_) return;
  if (cancelled_) {
    finished_ = true;
    Finish(record_.End(absl::CancelledError("the client cancelled the call")));
    return;
  }
  if (!writing_) {
    if (started_) {
      outgoing_ = SerializeMessage(*started_);
      started_.reset();
      writing_ = true;
      StartWrite(&outgoing_);
    } else if (!results_.empty()) {
      const Result result = std::move(results_.front());
      results_.pop_front();
      Count(result);
      outgoing_ = SerializeMessage(ToResponse(result));
      writing_bytes_ = result.num_bytes;
      writing_result_ = true;
      writing_ = true;
      StartWrite(&outgoing_);
    } else if (documents_in_flight_ == 0 && (half_closed_ || !end_status_.ok())) {
      finished_ = true;
      if (end_status_.ok() && bank_ == nullptr) {
        end_status_ = WrongOrder("start", "the stream ended before start was sent");
      }
      if (end_status_.ok()) {
        outgoing_ = SerializeMessage(MakeSummary());
        StartWriteAndFinish(&outgoing_, grpc::WriteOptions(), record_.End(absl::OkStatus()));
      } else {
        Finish(record_.End(end_status_));
      }
      return;
    }
  }
  const bool has_room = documents_in_flight_ < service_.limits.max_in_flight_documents &&
                        bytes_in_flight_ < service_.limits.max_in_flight_bytes;
  if (!reading_ && !half_closed_ && end_status_.ok() && has_room) {
    reading_ = true;
    StartRead(&incoming_);
  }
}

void IngestStream::Count(const Result& result) {
  summary_.set_documents(summary_.documents() + 1);
  if (!result.result.status.ok()) {
    summary_.set_failed(summary_.failed() + 1);
  } else if (result.result.deduplicated) {
    summary_.set_deduplicated(summary_.deduplicated() + 1);
  } else {
    summary_.set_stored(summary_.stored() + 1);
    summary_.set_tokens(summary_.tokens() + result.result.num_tokens);
  }
}

v1::IngestDocumentsResponse IngestStream::ToResponse(const Result& result) {
  v1::IngestDocumentsResponse response;
  v1::IngestResult* out = response.mutable_result();
  out->set_sequence(result.sequence);
  out->set_document_id(result.result.id);
  if (!result.result.status.ok()) {
    out->set_state(v1::DOCUMENT_STATE_FAILED);
    *out->mutable_error() = ToRpcStatus(result.result.status, NameOf(RpcMethod::kIngestDocuments));
    return response;
  }
  out->set_number(result.result.number);
  out->set_state(ToProto(result.result.state));
  out->set_tokens(result.result.num_tokens);
  out->set_chunks(result.result.num_chunks);
  out->set_revision(result.result.revision);
  out->set_deduplicated(result.result.deduplicated);
  return response;
}

v1::IngestDocumentsResponse IngestStream::MakeSummary() {
  v1::IngestDocumentsResponse response;
  *response.mutable_summary() = summary_;
  ToProto(absl::Now() - start_time_, response.mutable_summary()->mutable_elapsed());
  response.mutable_summary()->set_revision(bank_->Info().revision);
  return response;
}

void IngestStream::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  if (writing_result_) {
    writing_result_ = false;
    --documents_in_flight_;
    bytes_in_flight_ -= writing_bytes_;
  }
  if (!ok) cancelled_ = true;
  Advance();
}

void IngestStream::OnCancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  Advance();
}

void IngestStream::OnDone() {
  service_.metrics->StreamClosed(RpcMethod::kIngestDocuments);
  on_done_();
  // Destroyed after the lock, and here: a bank must not lose its last owner in its own callback.
  std::shared_ptr<IngestStream> self;
  std::shared_ptr<engine::Bank> bank;
  const std::lock_guard lock(mutex_);
  self.swap(self_);
  bank.swap(bank_);
}

}  // namespace msa::server
