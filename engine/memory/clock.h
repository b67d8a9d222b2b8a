#pragma once

#include "absl/time/time.h"

namespace msa::engine {

// Time as the engine sees it; tests set it. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;            // wall clock, for what users read
  virtual absl::Duration Monotonic() = 0;  // for intervals, deadlines and timeouts
};

Clock* SystemClock();  // lives as long as the process

}  // namespace msa::engine
