#include "server/timeout.h"

#include <mutex>
#include <utility>

#include "grpc/support/time.h"

namespace msa::server {

struct Timeout::State {
  std::mutex mutex;  // held while on_timeout runs
  std::function<void()> on_timeout;
  bool started = false;
};

Timeout::Timeout(std::function<void()> on_timeout) : state_(std::make_shared<State>()) {
  state_->on_timeout = std::move(on_timeout);
}

Timeout::~Timeout() { Stop(); }

void Timeout::Start(absl::Duration after) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->started || state_->on_timeout == nullptr) return;
    state_->started = true;
  }
  const gpr_timespec deadline =
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                   gpr_time_from_nanos(absl::ToInt64Nanoseconds(after), GPR_TIMESPAN));
  // A new one each time: the last one's callback may not have returned.
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(deadline, [state = state_](bool expired) {
    const std::lock_guard lock(state->mutex);
    state->started = false;
    if (expired && state->on_timeout != nullptr) state->on_timeout();
  });
}

void Timeout::Stop() {
  alarm_ = nullptr;  // cancels it
  const std::lock_guard lock(state_->mutex);
  state_->on_timeout = nullptr;
}

}  // namespace msa::server
