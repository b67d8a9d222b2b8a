#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/time/time.h"
#include "engine/memory/bank.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "msa/v1/memory_service.pb.h"
#include "server/call_record.h"
#include "server/service_context.h"

namespace msa::server {

// One IngestDocuments call. It reads while fewer than max_in_flight_documents documents and
// max_in_flight_bytes bytes lack a written result, so neither a fast client nor one that does not
// read its results can make the server's memory grow.
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
  struct Result {
    engine::IngestResult result;
    uint64_t sequence = 0;
    int64_t num_bytes = 0;  // of the text, given back when the result is written
  };

  IngestStream(const ServiceContext& service, const grpc::CallbackServerContext* context,
               std::function<void()> on_done);

  // All with mutex_ held.
  absl::Status OnStart(const v1::IngestStart& start, const absl::Status& parsed);
  absl::Status OnDocument(v1::IngestDocument document, const absl::Status& parsed,
                          std::unique_lock<std::mutex>* lock);
  absl::Status OnMessage(v1::IngestDocumentsRequest message, const absl::Status& parsed,
                         std::unique_lock<std::mutex>* lock);
  void Advance();  // starts the read, the write or the end that is due
  void SchedulePump();
  void Count(const Result& result);
  v1::IngestDocumentsResponse ToResponse(const Result& result);
  v1::IngestDocumentsResponse MakeSummary();

  const ServiceContext& service_;
  const grpc::CallbackServerContext* const context_;
  const std::function<void()> on_done_;
  CallRecord record_;

  std::mutex mutex_;
  std::shared_ptr<IngestStream> self_;  // until OnDone
  std::shared_ptr<engine::Bank> bank_;  // from the start message on
  engine::IngestMode mode_ = engine::IngestMode::kInsert;
  engine::AcknowledgeAt level_ = engine::AcknowledgeAt::kActive;
  absl::Time start_time_;
  std::optional<uint64_t> last_sequence_;

  grpc::ByteBuffer incoming_;
  bool reading_ = false;  // until the message was handed to the bank
  bool half_closed_ = false;
  int64_t documents_in_flight_ = 0;
  int64_t bytes_in_flight_ = 0;

  std::deque<Result> results_;  // to be written
  std::optional<v1::IngestDocumentsResponse> started_;
  grpc::ByteBuffer outgoing_;
  bool writing_ = false;
  int64_t writing_bytes_ = 0;  // of the document whose result is being written
  bool writing_result_ = false;

  bool pump_scheduled_ = false;
  bool cancelled_ = false;
  bool finished_ = false;
  absl::Status end_status_;  // not OK: the call ends with it
  v1::IngestSummary summary_;
};

}  // namespace msa::server
