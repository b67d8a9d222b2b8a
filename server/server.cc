#include "server/server.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/protobuf/stubs/logging.h"
#include "grpc/support/log.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "kernels/core/status_macros.h"
#include "prometheus/text_serializer.h"
#include "server/admin_service.h"
#include "server/engine_collector.h"
#include "server/log.h"
#include "server/memory_service.h"
#include "server/port_probe.h"
#include "server/process_collector.h"
#include "server/query_service.h"

namespace msa::server {
namespace {

constexpr int kCallThreads = 4;
constexpr int kStreamThreads = 2;
constexpr int kJobThreads = 2;
constexpr size_t kMaxQueuedCalls = 1024;
constexpr size_t kMaxQueuedJobs = 16;
constexpr size_t kMaxIngestSessions = 4096;
constexpr int kMaxStreamsPerConnection = 1024;
constexpr absl::Duration kFarewell = absl::Milliseconds(300);  // for the last bytes to leave
constexpr int64_t kMessageSlackBytes = int64_t{1}
                                       << 20;  // ids, metadata and framing around a document's text

constexpr const char* kServiceNames[] = {"msa.v1.MemoryService", "msa.v1.QueryService",
                                         "msa.v1.AdminService"};

// The libraries' own chatter becomes debug lines; their failures come back to us as statuses.
void QuietLibraries() {
  static std::once_flag once;
  std::call_once(once, [] {
    google::protobuf::SetLogHandler(nullptr);
    gpr_set_log_function([](gpr_log_func_args* args) {
      Log(LogLevel::kDebug, args->message, {{"from", std::string("grpc")}});
    });
  });
}

// A document up to twice the limit is refused by its result; only what is larger still ends the
// stream.
int MaxMessageBytes(const ServerOptions::Limits& limits) {
  const int64_t bytes = 2 * limits.max_document_bytes + kMessageSlackBytes;
  return static_cast<int>(std::min<int64_t>(bytes, std::numeric_limits<int>::max()));
}

void ConfigureConnections(grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT,
                              0);  // a taken port is an error, not a second server
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);  // finds clients that vanished
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
}

}  // namespace

struct Server::Parts {
  Parts(const ServerOptions& from, engine::Engine* the_engine, ServerMetrics* the_metrics)
      : options(from),
        engine(the_engine),
        metrics(the_metrics),
        engine_collector(std::make_shared<EngineCollector>(the_engine, &state)),
        process_collector(std::make_shared<ProcessCollector>()) {}

  std::vector<std::shared_ptr<prometheus::Collectable>> Collectables() const {
    return {metrics->registry(), engine_collector, process_collector};
  }

  const ServerOptions options;
  engine::Engine* const engine;
  ServerMetrics* const metrics;
  ServerState state;
  TaskRunner calls{kCallThreads, kMaxQueuedCalls};
  TaskRunner streams{kStreamThreads, std::numeric_limits<size_t>::max()};
  TaskRunner jobs{kJobThreads, kMaxQueuedJobs};
  IngestSessions sessions{kMaxIngestSessions};
  ServiceContext context{engine,    metrics,        &state,
                         &calls,    &streams,       &jobs,
                         &sessions, options.limits, options.scheduler.stalled_reader_timeout};
  MemoryService memory{context};
  QueryService query{context};
  AdminService admin{context};
  std::shared_ptr<EngineCollector> engine_collector;
  std::shared_ptr<ProcessCollector> process_collector;
  std::unique_ptr<MetricsEndpoint> metrics_endpoint;
  int port = 0;
  bool drained = false;
  std::unique_ptr<grpc::Server> grpc;  // last: its end waits for the calls, which use the rest
};

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      engine::Engine* engine,
                                                      ServerMetrics* metrics) {
  QuietLibraries();
  auto parts = std::make_unique<Parts>(options, engine, metrics);
  grpc::EnableDefaultHealthCheckService(true);
  if (options.observability.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  const std::string address = JoinHostPort(options.listen.host, options.listen.port);
  MSA_RETURN_IF_ERROR(CheckPortIsFree("gRPC", options.listen.host, options.listen.port));
  grpc::ServerBuilder builder;
  ConfigureConnections(&builder);
  builder.SetMaxReceiveMessageSize(MaxMessageBytes(options.limits));
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &parts->port);
  builder.RegisterService(&parts->memory);
  builder.RegisterService(&parts->query);
  builder.RegisterService(&parts->admin);
  parts->grpc = builder.BuildAndStart();
  if (parts->grpc == nullptr || parts->port == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on gRPC port ", address));
  }
  for (const char* service : kServiceNames)
    parts->grpc->GetHealthCheckService()->SetServingStatus(service, true);
  if (options.observability.metrics) {
    MSA_ASSIGN_OR_RETURN(
        parts->metrics_endpoint,
        MetricsEndpoint::Start(options.observability.metrics_host,
                               options.observability.metrics_port, parts->Collectables()));
  }
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

Server::~Server() { Drain(absl::ZeroDuration()); }

int Server::port() const { return parts_->port; }

int Server::metrics_port() const {
  return parts_->metrics_endpoint == nullptr ? 0 : parts_->metrics_endpoint->port();
}

std::shared_ptr<grpc::Channel> Server::InProcessChannel() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return parts_->grpc->InProcessChannel(arguments);
}

std::string Server::MetricsText() const {
  std::vector<prometheus::MetricFamily> families;
  for (const auto& collectable : parts_->Collectables()) {
    for (prometheus::MetricFamily& family : collectable->Collect())
      families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

void Server::Drain(absl::Duration grace) {
  if (std::exchange(parts_->drained, true)) return;
  const absl::Time end = absl::Now() + grace;
  parts_->state.BeginDraining();
  parts_->grpc->GetHealthCheckService()->SetServingStatus(false);
  parts_->memory.EndStreams(parts_->state.CheckReady());
  parts_->engine->Drain(grace);
  parts_->state.WaitForCalls(end);
  // What is left are calls that outlast the grace, and connections of idle clients, which may never
  // answer a goodbye.
  parts_->grpc->Shutdown(absl::ToChronoTime(absl::Now() + kFarewell));
}

bool Server::CheckEngine() {
  if (parts_->engine->healthy()) return false;
  parts_->state.MarkUnhealthy();
  parts_->grpc->GetHealthCheckService()->SetServingStatus(false);
  return true;
}

}  // namespace msa::server
