#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "msa/v1/admin_service.grpc.pb.h"
#include "msa/v1/memory_service.grpc.pb.h"
#include "msa/v1/query_service.grpc.pb.h"
#include "server/server.h"
#include "tests/server/fake_engine.h"

namespace msa::server {

// What a failed call says.
struct CallError {
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string message;
  std::string reason;  // ErrorInfo
  std::string domain;
  std::map<std::string, std::string> metadata;
  std::string field;  // BadRequest
  std::string description;
  double retry_seconds = -1;  // RetryInfo; -1: none
};
CallError ErrorOf(const grpc::Status& status);
CallError ErrorOf(const google::rpc::Status& status);

// A server on a free port of 127.0.0.1 around a FakeEngine with the bank "b", and clients of it.
class ServerFixture : public ::testing::Test {
 protected:
  // Call first to change options; otherwise the first use starts it.
  void StartServer(const ServerOptions& options);
  static ServerOptions TestOptions();

  Server& server();
  FakeEngine& engine();
  ServerMetrics& metrics() { return metrics_; }
  FakeBank& bank() { return *engine().bank("b"); }
  v1::MemoryService::Stub& memory();
  v1::QueryService::Stub& query();
  v1::AdminService::Stub& admin();
  std::shared_ptr<grpc::Channel> channel();

  // Puts a document into the bank "b" directly.
  void Put(const std::string& id, const std::string& text);

  grpc::Status GetBank();  // of the bank "b", through the server

  bool WaitUntil(const std::function<bool()>& condition,
                 absl::Duration timeout = absl::Seconds(10));

 private:
  void StartOnce();
  ServerMetrics metrics_;
  std::unique_ptr<FakeEngine> engine_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::MemoryService::Stub> memory_;
  std::unique_ptr<v1::QueryService::Stub> query_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

}  // namespace msa::server
