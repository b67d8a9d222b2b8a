#pragma once

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

namespace msa::server {

// One Generate call: pulls events from the engine's stream, one write at a time, so that a client
// that does not read holds back its own answer only.
//
// Threads: gRPC's report writes and cancellation, the engine's only queue a task; tasks run on the
// stream runner. The object lives until gRPC is done with it (OnDone) and no task holds it.
class GenerateCall : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                     public std::enable_shared_from_this<GenerateCall> {
 public:
  // `in` is the request; valid until OnDone.
  static std::shared_ptr<GenerateCall> Start(const ServiceContext& service,
                                             const grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* in);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  GenerateCall(const ServiceContext& service, const grpc::CallbackServerContext* context,
               const grpc::ByteBuffer* in);

  absl::StatusOr<std::unique_ptr<engine::GenerateStream>> Admit();
  void Begin();
  void Pump();                           // mutex_ held
  void End(const absl::Status& status);  // mutex_ held

  const ServiceContext& service_;
  const grpc::CallbackServerContext* const context_;
  const grpc::ByteBuffer* const in_;
  CallRecord record_;
  bool explain_layers_ = false;

  std::atomic<bool> pump_scheduled_{false};
  std::mutex mutex_;
  std::shared_ptr<GenerateCall> self_;  // until OnDone
  std::unique_ptr<engine::GenerateStream> stream_;
  grpc::ByteBuffer outgoing_;
  bool writing_ = false;
  bool cancelled_ = false;
  bool ended_ = false;
  std::string finish_reason_;  // from the last event
};

}  // namespace msa::server
