#include "server/server_state.h"

#include <string>

#include "kernels/core/error_detail.h"

namespace msa::server {
namespace {

absl::Status Unavailable(const std::string& message, const std::string& reason) {
  return kernels::WithDetail(
      absl::UnavailableError(message),
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

void ServerState::CallOpened() {
  const std::lock_guard lock(mutex_);
  ++num_open_calls_;
}

void ServerState::CallClosed() {
  const std::lock_guard lock(mutex_);
  if (--num_open_calls_ == 0) last_closed_.notify_all();
}

void ServerState::WaitForCalls(absl::Time deadline) {
  std::unique_lock lock(mutex_);
  last_closed_.wait_until(lock, absl::ToChronoTime(deadline),
                          [this] { return num_open_calls_ == 0; });
}

}  // namespace msa::server
