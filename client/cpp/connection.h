#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "client/cpp/active_calls.h"
#include "client/cpp/client.h"
#include "grpcpp/channel.h"
#include "msa/v1/admin_service.grpc.pb.h"
#include "msa/v1/memory_service.grpc.pb.h"
#include "msa/v1/query_service.grpc.pb.h"

namespace msa::client {

// What Client and IngestStream share; kept out of their headers because of gRPC's. Thread-safe.
class Connection {
 public:
  explicit Connection(ClientOptions options);

  // Calls `attempt` until it succeeds, fails for good or may not be repeated.
  absl::Status Retrying(bool repeatable,
                        const std::function<grpc::Status(grpc::ClientContext*)>& attempt);

  const ClientOptions& options() const { return options_; }
  ActiveCalls& calls() { return calls_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  v1::MemoryService::Stub& memory() { return *memory_; }
  v1::QueryService::Stub& query() { return *query_; }
  v1::AdminService::Stub& admin() { return *admin_; }

 private:
  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::MemoryService::Stub> memory_;
  const std::unique_ptr<v1::QueryService::Stub> query_;
  const std::unique_ptr<v1::AdminService::Stub> admin_;
  ActiveCalls calls_;
};

}  // namespace msa::client
