#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/bank.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/call_record.h"
#include "server/service_context.h"

namespace msa::server {

// One ExportDocuments call: reads a page of the bank, writes it, and reads the next when the client
// has room for more, so that it holds one page whatever the bank holds and however slowly it is
// read.
//
// Threads: pages are read on the call runner, one after the other; gRPC's report writes and
// cancellation. The object lives until gRPC is done with it (OnDone) and no task holds it.
class ExportCall : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                   public std::enable_shared_from_this<ExportCall> {
 public:
  // `in` is the request; valid until OnDone.
  static ExportCall* Start(const ServiceContext& service,
                           const grpc::CallbackServerContext* context, const grpc::ByteBuffer* in);

  void OnWriteDone(bool ok) override;
  void OnCancel() override { cancelled_.store(true); }
  void OnDone() override;

 private:
  ExportCall(const ServiceContext& service, const grpc::CallbackServerContext* context);

  void Begin(const grpc::ByteBuffer& in);
  absl::Status Open(const grpc::ByteBuffer& in);
  // Until a page has documents, or the bank ends: then nothing.
  absl::StatusOr<std::optional<grpc::ByteBuffer>> NextPage();
  void WriteNextPage();
  void End(const absl::Status& status);

  const ServiceContext& service_;
  const grpc::CallbackServerContext* const context_;
  CallRecord record_;

  // Used by one task at a time.
  std::shared_ptr<engine::Bank> bank_;
  std::optional<engine::Filter> filter_;
  std::string after_id_;
  bool is_at_end_ = false;
  grpc::ByteBuffer outgoing_;

  std::atomic<bool> cancelled_{false};
  std::shared_ptr<ExportCall> self_;  // until OnDone
};

}  // namespace msa::server
