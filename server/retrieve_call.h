#pragma once

#include <memory>
#include <mutex>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/call_record.h"
#include "server/service_context.h"

namespace msa::server {

// One Retrieve call. Cancelling the call cancels the engine's work. Lives like GenerateCall.
class RetrieveCall : public grpc::ServerUnaryReactor,
                     public std::enable_shared_from_this<RetrieveCall> {
 public:
  // `in` and `out` are the request and the response; valid until OnDone.
  static std::shared_ptr<RetrieveCall> Start(const ServiceContext& service,
                                             const grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* in, grpc::ByteBuffer* out);

  void OnCancel() override;
  void OnDone() override;

 private:
  RetrieveCall(const ServiceContext& service, const grpc::CallbackServerContext* context,
               const grpc::ByteBuffer* in, grpc::ByteBuffer* out);

  absl::StatusOr<std::unique_ptr<engine::RequestHandle>> Admit();
  void Begin();
  void End(const absl::StatusOr<engine::RetrieveResult>& result);

  const ServiceContext& service_;
  const grpc::CallbackServerContext* const context_;
  const grpc::ByteBuffer* const in_;
  grpc::ByteBuffer* const out_;
  CallRecord record_;
  bool explain_layers_ = false;

  std::mutex mutex_;
  std::shared_ptr<RetrieveCall> self_;  // until OnDone
  std::unique_ptr<engine::RequestHandle> handle_;
  bool cancelled_ = false;
  bool ended_ = false;
};

}  // namespace msa::server
