#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "grpcpp/channel.h"
#include "server/metrics_endpoint.h"
#include "server/options.h"
#include "server/server_metrics.h"

namespace msa::server {

// The gRPC server around an engine: services, health, reflection, metrics. Ready when Start
// returns.
class Server {
 public:
  // `engine` and `metrics` (the engine's observer) must outlive the server. UNAVAILABLE, one line,
  // when a port cannot be bound.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       engine::Engine* engine,
                                                       ServerMetrics* metrics);
  ~Server();  // ends what still runs
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;
  int metrics_port() const;  // 0 without a metrics endpoint

  // A channel to this server without a socket, for tests.
  std::shared_ptr<grpc::Channel> InProcessChannel();
  // What /metrics serves.
  std::string MetricsText() const;

  // Stops admitting (UNAVAILABLE, health NOT_SERVING), lets what runs finish up to `grace`, cancels
  // the rest and closes the ports. Once; blocks.
  void Drain(absl::Duration grace);

  // Health says NOT_SERVING at once if the engine failed; true if it did.
  bool CheckEngine();

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace msa::server
