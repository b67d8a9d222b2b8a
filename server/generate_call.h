#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/call_record.h"
#include "server/service_context.h"
#include "server/timeout.h"

namespace msa::server {

// One Generate call: pulls events from the engine's stream, one write at a time, so that a client
// that does not read holds back its own answer only. A write that is not taken for
// ServiceContext::stalled_reader_timeout ends the call with RESOURCE_EXHAUSTED, whether or not the
// engine is done with the answer.
//
// Threads: gRPC's report writes and cancellation, the engine's and the timeout's only queue a task;
// tasks run on the stream runner. The object lives until gRPC is done with it (OnDone) and no task
// holds it.
class GenerateCall : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                     public std::enable_shared_from_this<GenerateCall> {
 public:
  // `in` is the request; valid until OnDone.
  static std::shared_ptr<GenerateCall> Start(const ServiceContext& service,
                                             grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* in);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  GenerateCall(const ServiceContext& service, grpc::CallbackServerContext* context,
               const grpc::ByteBuffer* in);

  absl::StatusOr<std::unique_ptr<engine::GenerateStream>> Admit();
  engine::QueryLimits DefaultsOf(const std::string& bank) const;
  void Begin();
  void SchedulePump();  // any thread, before OnDone
  // All with mutex_ held.
  void Pump();
  void StartWriting(const engine::QueryEvent& event);
  void WatchWrite();
  void End(const absl::Status& status);

  const ServiceContext& service_;
  grpc::CallbackServerContext* const context_;
  const grpc::ByteBuffer* const in_;
  CallRecord record_;
  bool explain_layers_ = false;

  std::atomic<bool> pump_scheduled_{false};
  std::mutex mutex_;
  std::shared_ptr<GenerateCall> self_;  // until OnDone
  std::unique_ptr<engine::GenerateStream> stream_;
  grpc::ByteBuffer outgoing_;
  bool writing_ = false;
  std::chrono::steady_clock::time_point write_start_;
  Timeout write_timeout_{[this] { SchedulePump(); }};
  bool stalled_ = false;  // a write was not taken in time
  bool cancelled_ = false;
  bool ended_ = false;
  std::string finish_reason_;  // from the last event
};

}  // namespace msa::server
