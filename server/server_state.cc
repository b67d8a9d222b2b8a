#include "server/server_state.h"

#include <string>

#include "kernels/core/error_detail.h"

namespace msa::server {
namespace {

absl::Status Unavailable(const std::string& message, const std::string& reason) {
  return kernels::WithDetail(absl::UnavailableError(message),
                             {.reason = reason, .field = "", .metadata = {}, .retry_after = absl::Seconds(1)});
}

}  // namespace

absl::Status ServerState::CheckReady() const {
  switch (get()) {
    case ServingState::kReady:
      return absl::OkStatus();
    case ServingState::kDraining:
      return Unavailable("the server is shutting down", "DRAINING");
    case ServingState::kUnhealthy:
      break;
  }
  return Unavailable("a part of the server failed; it is about to exit", "ENGINE_UNHEALTHY");
}

void ServerState::BeginDraining() {
  ServingState ready = ServingState::kReady;
  state_.compare_exchange_strong(ready, ServingState::kDraining);
}

}  // namespace msa::server
