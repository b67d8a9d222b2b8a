#include "server/ingest_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/status_macros.h"
#include "server/memory_conversion.h"
#include "server/memory_validation.h"
#include "server/message_codec.h"
#include "server/request_validation.h"
#include "server/status_conversion.h"

namespace msa::server {
namespace {

constexpr int64_t kMaxSessionIdBytes = 128;
constexpr absl::Duration kShortestHold = absl::Milliseconds(10);
constexpr absl::Duration kLongestHold = absl::Seconds(10);
constexpr char kReencoding[] = "BANK_REENCODING";

absl::Status WrongOrder(const std::string& field, const std::string& message) {
  return InvalidField(field, "INVALID_SEQUENCE", message);
}

// How long until the bank may have room again; nothing: the refusal is final.
std::optional<absl::Duration> TimeToHold(const absl::Status& refusal) {
  const kernels::ErrorDetail detail = kernels::DetailOf(refusal);
  const bool passes = detail.reason == "TOO_MANY_PENDING_DOCUMENTS" || detail.reason == kReencoding;
  if (!passes || !detail.retry_after) return std::nullopt;
  return std::clamp(*detail.retry_after, kShortestHold, kLongestHold);
}

}  // namespace

std::shared_ptr<IngestStream> IngestStream::Open(const ServiceContext& service,
                                                 const grpc::CallbackServerContext* context,
                                                 std::function<void()> on_done) {
  std::shared_ptr<IngestStream> stream(new IngestStream(service, context, std::move(on_done)));
  const Lock lock(stream->mutex_);
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
  const Lock lock(mutex_);
  if (finished_) return;
  if (end_status_.ok()) end_status_ = status;
  Advance();
}

void IngestStream::OnReadDone(bool ok) {
  Lock lock(mutex_);
  if (!ok) {
    reading_ = false;
    half_closed_ = true;
    cancelled_ = cancelled_ || context_->IsCancelled();
    if (assembly_ && end_status_.ok()) {
      end_status_ = WrongOrder("part", absl::StrCat("the stream ended before the last part of "
                                                    "document ",
                                                    assembly_->sequence()));
    }
    Advance();
    return;
  }
  grpc::ByteBuffer bytes;
  bytes.Swap(&incoming_);
  if (end_status_.ok() && !finished_) {
    v1::IngestDocumentsRequest message;
    const absl::Status parsed = ParseMessage(bytes, &message);
    bytes.Clear();
    const absl::Status status = OnMessage(std::move(message), parsed, &lock);
    if (end_status_.ok()) end_status_ = status;
  }
  reading_ = false;  // only now: the next message must not overtake this one
  Advance();
}

absl::Status IngestStream::OnMessage(v1::IngestDocumentsRequest message, const absl::Status& parsed,
                                     Lock* lock) {
  switch (message.message_case()) {
    case v1::IngestDocumentsRequest::kStart:
      return OnStart(message.start(), parsed);
    case v1::IngestDocumentsRequest::kDocument:
      return OnDocument(std::move(*message.mutable_document()), parsed, lock);
    case v1::IngestDocumentsRequest::kPart:
      return OnPart(std::move(*message.mutable_part()), parsed, lock);
    case v1::IngestDocumentsRequest::MESSAGE_NOT_SET:
      break;
  }
  MSA_RETURN_IF_ERROR(parsed);
  return InvalidField("message", "MISSING_FIELD",
                      "the message holds neither start nor document nor part");
}

absl::Status IngestStream::OnStart(const v1::IngestStart& start, const absl::Status& parsed) {
  MSA_RETURN_IF_ERROR(parsed);
  if (bank_ != nullptr) return WrongOrder("start", "start was sent twice; it comes once, first");
  MSA_RETURN_IF_ERROR(CheckNotEmpty("start.bank", start.bank()));
  MSA_RETURN_IF_ERROR(
      CheckLength("start.session_id", "INVALID_VALUE", start.session_id(), kMaxSessionIdBytes));
  MSA_ASSIGN_OR_RETURN(mode_, ToIngestMode(start.mode()));
  MSA_ASSIGN_OR_RETURN(level_, ToAcknowledgeAt("start.acknowledge_at", start.acknowledge_at()));
  MSA_ASSIGN_OR_RETURN(bank_, service_.engine->banks().Get(start.bank()));
  bank_name_ = start.bank();
  session_id_ = start.session_id();
  report_.emplace();
  v1::IngestStarted* started = started_.emplace().mutable_started();
  started->set_max_in_flight_documents(service_.limits.max_in_flight_documents);
  started->set_max_in_flight_bytes(service_.limits.max_in_flight_bytes);
  started->set_max_document_bytes(service_.limits.max_document_bytes);
  started->set_revision(bank_->Info().revision);
  if (!session_id_.empty()) {
    const std::optional<uint64_t> before = service_.sessions->Find(bank_, session_id_);
    if (before) started->set_resume_after(*before);
    progress_.emplace(before);
  }
  return absl::OkStatus();
}

absl::Status IngestStream::BeginDocument(const std::string& message, uint64_t sequence) {
  if (bank_ == nullptr) {
    return WrongOrder(message, absl::StrCat("a ", message, " was sent before start"));
  }
  if (last_sequence_ && sequence <= *last_sequence_) {
    return WrongOrder(absl::StrCat(message, ".sequence"),
                      absl::StrCat(message, ".sequence is ", sequence, " after ", *last_sequence_,
                                   "; sequence numbers must ascend"));
  }
  last_sequence_ = sequence;
  ++documents_in_flight_;
  if (progress_) progress_->Received(sequence);
  return absl::OkStatus();
}

absl::Status IngestStream::OnDocument(v1::IngestDocument document, const absl::Status& parsed,
                                      Lock* lock) {
  if (assembly_) {
    return WrongOrder("document", absl::StrCat("document ", document.sequence(),
                                               " was sent before the last part of document ",
                                               assembly_->sequence()));
  }
  MSA_RETURN_IF_ERROR(BeginDocument("document", document.sequence()));
  const Taken taken{document.sequence(), static_cast<int64_t>(document.text().size())};
  bytes_in_flight_ += taken.num_bytes;
  const std::string id = document.document_id();
  if (parsed.ok()) {
    Take(taken, id, std::move(document), lock);
  } else {
    Take(taken, id, parsed, lock);
  }
  return absl::OkStatus();
}

absl::Status IngestStream::OnPart(v1::IngestPart part, const absl::Status& parsed, Lock* lock) {
  if (!assembly_) {
    MSA_RETURN_IF_ERROR(BeginDocument("part", part.sequence()));
    assembly_.emplace(service_.limits.max_document_bytes);
  }
  bytes_in_flight_ -= assembly_->num_bytes();
  const absl::Status added = assembly_->Add(std::move(part), parsed);
  bytes_in_flight_ += assembly_->num_bytes();
  if (!added.ok() || !assembly_->is_complete()) return added;
  const Taken taken{assembly_->sequence(), assembly_->num_bytes()};
  const std::string id = assembly_->document_id();
  absl::StatusOr<v1::IngestDocument> document = assembly_->Take();
  assembly_.reset();
  Take(taken, id, std::move(document), lock);
  return absl::OkStatus();
}

void IngestStream::Take(const Taken& taken, const std::string& document_id,
                        absl::StatusOr<v1::IngestDocument> document, Lock* lock) {
  absl::StatusOr<engine::DocumentInput> input =
      document.ok() ? ToDocumentInput(*std::move(document), service_.limits) : document.status();
  if (input.ok()) {
    OfferToBank({taken, *std::move(input)}, lock);
    return;
  }
  Result refused{taken, {}};  // one bad document does not end the stream
  refused.result.id = document_id;
  refused.result.status = input.status();
  results_.push_back(std::move(refused));
}

void IngestStream::OfferToBank(Offer offer, Lock* lock) {
  auto done = [weak = weak_from_this(), taken = offer.taken](engine::IngestResult result) {
    const std::shared_ptr<IngestStream> stream = weak.lock();
    if (stream == nullptr) return;  // the client has gone; the document stays
    const Lock stream_lock(stream->mutex_);
    stream->OnResult({taken, std::move(result)});
  };
  offered_ = offer.taken.sequence;
  const std::shared_ptr<engine::Bank> bank = bank_;
  const engine::IngestMode mode = mode_;
  const engine::AcknowledgeAt level = level_;
  lock->unlock();  // `done` may be called at once
  // A copy, in case that it has to be offered again.
  bank->Ingest(offer.document, mode, level, std::move(done));
  lock->lock();
  offered_.reset();
  const absl::Status refusal = std::exchange(refusal_, absl::OkStatus());
  if (!refusal.ok() && !finished_) Hold(std::move(offer), refusal);
}

void IngestStream::OnResult(Result result) {
  const bool is_hopeful = offered_ == result.taken.sequence && TimeToHold(result.result.status);
  if (is_hopeful) {
    refusal_ = result.result.status;
    return;
  }
  results_.push_back(std::move(result));
  SchedulePump();
}

void IngestStream::Hold(Offer offer, const absl::Status& refusal) {
  const absl::Duration time = *TimeToHold(refusal);
  held_ = std::move(offer);
  waits_for_new_bank_ = kernels::DetailOf(refusal).reason == kReencoding;
  v1::IngestThrottle* throttle = throttle_.emplace().mutable_throttle();
  ToProto(time, throttle->mutable_retry_delay());
  *throttle->mutable_reason() = ToRpcStatus(refusal, NameOf(RpcMethod::kIngestDocuments));
  hold_timeout_.Start(time);
}

void IngestStream::OfferAgain(Lock* lock) {
  if (!hold_is_over_.exchange(false) || !held_ || finished_) return;
  if (waits_for_new_bank_) {
    lock->unlock();  // it may have to be opened; what is held keeps later documents from overtaking
    auto bank = service_.engine->banks().Get(bank_name_);
    lock->lock();
    if (!held_ || finished_) return;
    if (bank.ok()) bank_ = *std::move(bank);
  }
  Offer offer = *std::move(held_);
  held_.reset();
  OfferToBank(std::move(offer), lock);
}

// The task that is queued takes ownership for a moment, never the thread that queues it: the bank's
// must not destroy the stream, and the timeout's may go on when the server has ended.
void IngestStream::SchedulePump() {
  if (pump_scheduled_.exchange(true)) return;
  const bool posted = service_.streams->Post([weak = weak_from_this()] {
    const std::shared_ptr<IngestStream> stream = weak.lock();
    if (stream == nullptr) return;
    stream->pump_scheduled_.store(false);
    Lock lock(stream->mutex_);
    stream->OfferAgain(&lock);
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
  if (!end_status_.ok()) DropUnanswered();
  if (!writing_) {
    if (started_) {
      Write(*std::exchange(started_, std::nullopt));
    } else if (throttle_) {
      Write(*std::exchange(throttle_, std::nullopt));
    } else if (!results_.empty()) {
      const Result result = std::move(results_.front());
      results_.pop_front();
      writing_result_of_ = result.taken;
      Write(report_->Add(result.result, result.taken.sequence));
    } else if (documents_in_flight_ == 0 && (half_closed_ || !end_status_.ok())) {
      FinishStream();
      return;
    }
  }
  if (CanRead()) {
    reading_ = true;
    StartRead(&incoming_);
  }
}

void IngestStream::Write(const v1::IngestDocumentsResponse& response) {
  outgoing_ = SerializeMessage(response);
  writing_ = true;
  StartWrite(&outgoing_);
}

void IngestStream::DropUnanswered() {
  throttle_.reset();
  if (assembly_) {
    --documents_in_flight_;
    bytes_in_flight_ -= assembly_->num_bytes();
    assembly_.reset();
  }
  if (held_) {
    --documents_in_flight_;
    bytes_in_flight_ -= held_->taken.num_bytes;
    held_.reset();
  }
}

void IngestStream::FinishStream() {
  finished_ = true;
  if (end_status_.ok() && bank_ == nullptr) {
    end_status_ = WrongOrder("start", "the stream ended before start was sent");
  }
  if (!end_status_.ok()) {
    Finish(record_.End(end_status_));
    return;
  }
  outgoing_ = SerializeMessage(report_->Summary(bank_->Info().revision));
  StartWriteAndFinish(&outgoing_, grpc::WriteOptions(), record_.End(absl::OkStatus()));
}

bool IngestStream::CanRead() const {
  if (reading_ || half_closed_ || !end_status_.ok() || held_ || offered_) return false;
  // What is missing of a document must come, however small the window is.
  if (assembly_ && documents_in_flight_ == 1) return true;
  return documents_in_flight_ < service_.limits.max_in_flight_documents &&
         bytes_in_flight_ < service_.limits.max_in_flight_bytes;
}

void IngestStream::OnWriteDone(bool ok) {
  const Lock lock(mutex_);
  writing_ = false;
  if (writing_result_of_) {
    --documents_in_flight_;
    bytes_in_flight_ -= writing_result_of_->num_bytes;
    if (ok && progress_) {
      progress_->Answered(writing_result_of_->sequence);
      if (const auto sequence = progress_->complete_up_to())
        service_.sessions->Advance(bank_, session_id_, *sequence);
    }
    writing_result_of_.reset();
  }
  if (!ok) cancelled_ = true;
  Advance();
}

void IngestStream::OnCancel() {
  const Lock lock(mutex_);
  cancelled_ = true;
  Advance();
}

void IngestStream::OnDone() {
  service_.metrics->StreamClosed(RpcMethod::kIngestDocuments);
  on_done_();
  hold_timeout_.Stop();
  // Destroyed after the lock, and here: a bank must not lose its last owner in its own callback.
  std::shared_ptr<IngestStream> self;
  std::shared_ptr<engine::Bank> bank;
  const Lock lock(mutex_);
  self.swap(self_);
  bank.swap(bank_);
}

}  // namespace msa::server
