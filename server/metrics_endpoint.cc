#include "server/metrics_endpoint.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"
#include "server/options.h"
#include "server/port_probe.h"

namespace msa::server {

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& host, int64_t port,
    std::vector<std::shared_ptr<prometheus::Collectable>> collectables) {
  MSA_RETURN_IF_ERROR(CheckPortIsFree("metrics", host, port));
  const std::string address = JoinHostPort(host, port);
  std::unique_ptr<MetricsEndpoint> endpoint(new MetricsEndpoint());
  try {  // prometheus-cpp reports by exceptions
    endpoint->exposer_ = std::make_unique<prometheus::Exposer>(address);
    endpoint->port_ = endpoint->exposer_->GetListeningPorts().at(0);
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics on ", address, ": ", error.what()));
  }
  endpoint->collectables_ = std::move(collectables);
  for (const auto& collectable : endpoint->collectables_)
    endpoint->exposer_->RegisterCollectable(collectable);
  return endpoint;
}

}  // namespace msa::server
