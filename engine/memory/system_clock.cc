#include <chrono>

#include "absl/time/clock.h"
#include "engine/memory/clock.h"

namespace msa::engine {
namespace {

class OperatingSystemClock : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
  absl::Duration Monotonic() override {
    return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }
};

}  // namespace

Clock* SystemClock() {
  static OperatingSystemClock* const clock = new OperatingSystemClock();
  return clock;
}

}  // namespace msa::engine
