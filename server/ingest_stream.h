#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "engine/memory/bank.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "msa/v1/memory_service.pb.h"
#include "server/call_record.h"
#include "server/document_assembly.h"
#include "server/ingest_report.h"
#include "server/ingest_sessions.h"
#include "server/service_context.h"
#include "server/timeout.h"

namespace msa::server {

// One IngestDocuments call. It reads while fewer than max_in_flight_documents documents and
// max_in_flight_bytes bytes lack a written result, so neither a fast client nor one that does not
// read its results can make the server's memory grow. A document that the bank has no room for just
// now, or that comes while it is encoded again, is held and offered again, in the end to the bank
// that has taken its place; meanwhile nothing is read, so that the order stays.
//
// Threads: gRPC's for reads and writes, the bank's for results (which only queue), the stream
// runner's for the rest. The object lives until gRPC is done with it (OnDone) and no task of the
// runner holds it.
class IngestStream : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                     public std::enable_shared_from_this<IngestStream> {
 public:
  // `on_done` is called when the call is over, on a thread of gRPC.
  static std::shared_ptr<IngestStream> Open(const ServiceContext& service,
                                            const grpc::CallbackServerContext* context,
                                            std::function<void()> on_done);

  // Ends the call with `status` after the results of the documents in flight. May be called from
  // any thread.
  void EndWith(const absl::Status& status);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Taken {  // a document that counts as in flight
    uint64_t sequence = 0;
    int64_t num_bytes = 0;  // of the text, given back when the result is written
  };
  struct Result {
    Taken taken;
    engine::IngestResult result;
  };
  struct Offer {
    Taken taken;
    engine::DocumentInput document;
  };

  IngestStream(const ServiceContext& service, const grpc::CallbackServerContext* context,
               std::function<void()> on_done);

  // All with mutex_ held, but for SchedulePump. What gets the lock lets go of it for a while.
  absl::Status OnMessage(v1::IngestDocumentsRequest message, const absl::Status& parsed,
                         Lock* lock);
  absl::Status OnStart(const v1::IngestStart& start, const absl::Status& parsed);
  absl::Status OnDocument(v1::IngestDocument document, const absl::Status& parsed, Lock* lock);
  absl::Status OnPart(v1::IngestPart part, const absl::Status& parsed, Lock* lock);
  absl::Status BeginDocument(const std::string& message, uint64_t sequence);
  void Take(const Taken& taken, const std::string& document_id,
            absl::StatusOr<v1::IngestDocument> document, Lock* lock);
  void OfferToBank(Offer offer, Lock* lock);
  void OfferAgain(Lock* lock);
  void OnResult(Result result);
  void Hold(Offer offer, const absl::Status& refusal);
  void Advance();  // starts the read, the write or the end that is due
  void Write(const v1::IngestDocumentsResponse& response);
  void DropUnanswered();  // what the bank has not got
  void FinishStream();
  bool CanRead() const;
  void SchedulePump();  // any thread, before OnDone

  const ServiceContext& service_;
  const grpc::CallbackServerContext* const context_;
  const std::function<void()> on_done_;
  CallRecord record_;

  std::atomic<bool> pump_scheduled_{false};
  std::atomic<bool> hold_is_over_{false};
  std::mutex mutex_;
  std::shared_ptr<IngestStream> self_;  // until OnDone

  // ---- from the start message on
  std::string bank_name_;
  std::shared_ptr<engine::Bank> bank_;
  engine::IngestMode mode_ = engine::IngestMode::kInsert;
  engine::AcknowledgeAt level_ = engine::AcknowledgeAt::kActive;
  std::string session_id_;  // empty: none
  std::optional<IngestProgress> progress_;
  std::optional<IngestReport> report_;

  // ---- reading
  grpc::ByteBuffer incoming_;
  bool reading_ = false;  // until the message was handed to the bank
  bool half_closed_ = false;
  std::optional<uint64_t> last_sequence_;
  std::optional<DocumentAssembly> assembly_;  // counts as in flight
  int64_t documents_in_flight_ = 0;
  int64_t bytes_in_flight_ = 0;

  // ---- the document that the bank is being offered, or was too full for
  std::optional<uint64_t> offered_;
  absl::Status refusal_;  // of the one that is being offered
  std::optional<Offer> held_;
  bool waits_for_new_bank_ = false;  // held_: the bank is being encoded again, or was
  Timeout hold_timeout_{[this] {
    hold_is_over_.store(true);
    SchedulePump();
  }};

  // ---- writing
  std::optional<v1::IngestDocumentsResponse> started_, throttle_;
  std::deque<Result> results_;
  grpc::ByteBuffer outgoing_;
  bool writing_ = false;
  std::optional<Taken> writing_result_of_;

  bool cancelled_ = false;
  bool finished_ = false;
  absl::Status end_status_;  // not OK: the call ends with it
};

}  // namespace msa::server
