#include "client/cpp/connection.h"

#include <optional>
#include <string>
#include <utility>

#include "client/cpp/error_details.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace msa::client {
namespace {

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server) {
  grpc::ChannelArguments arguments;
  // Documents and their texts are larger than gRPC's default of 4 MB; the server has limits of its
  // own.
  arguments.SetMaxReceiveMessageSize(-1);
  // A server that is being started is found as soon as it listens.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // Long jobs have no deadline: a server that has vanished must be noticed.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

Connection::Connection(ClientOptions options)
    : options_(std::move(options)),
      channel_(MakeChannel(options_.server)),
      memory_(v1::MemoryService::NewStub(channel_)),
      query_(v1::QueryService::NewStub(channel_)),
      admin_(v1::AdminService::NewStub(channel_)) {}

absl::Status Connection::Retrying(
    bool repeatable, const std::function<grpc::Status(grpc::ClientContext*)>& attempt) {
  for (int attempts = 1;; ++attempts) {
    ActiveCall call(&calls_, options_.timeout);
    const absl::Status status = ToAbslStatus(attempt(call.context()));
    if (status.ok()) return status;
    const std::optional<absl::Duration> wait =
        WaitBeforeRetry(options_.retry, status, attempts, repeatable);
    if (!wait.has_value() || !calls_.Wait(*wait)) return status;
  }
}

}  // namespace msa::client
