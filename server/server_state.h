#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace msa::server {

enum class ServingState { kReady, kDraining, kUnhealthy };

inline constexpr std::array<std::string_view, 3> kServingStateNames = {"ready", "draining",
                                                                       "unhealthy"};

// What the server is doing, for admission, health, metrics and GetServerInfo. Thread-safe.
class ServerState {
 public:
  ServingState get() const { return state_.load(); }
  absl::Duration uptime() const { return absl::Now() - start_time_; }

  // UNAVAILABLE unless ready: with RetryInfo, because a supervisor or another server can take over.
  absl::Status CheckReady() const;

  // Unhealthy stays unhealthy.
  void BeginDraining();
  void MarkUnhealthy() { state_.store(ServingState::kUnhealthy); }

  // ---- open calls
  void CallOpened();
  void CallClosed();
  void WaitForCalls(absl::Time deadline);  // until none is open

 private:
  const absl::Time start_time_ = absl::Now();
  std::atomic<ServingState> state_{ServingState::kReady};
  std::mutex mutex_;
  std::condition_variable last_closed_;
  int64_t num_open_calls_ = 0;
};

}  // namespace msa::server
