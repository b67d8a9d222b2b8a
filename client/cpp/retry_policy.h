#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace msa::client {

// When a call is made again: after UNAVAILABLE and RESOURCE_EXHAUSTED with the server's RetryInfo,
// after the time it names; and, where repeating does no harm, after any other UNAVAILABLE, with
// waits that double. Everything else is final.
struct RetryPolicy {
  int max_attempts = 5;  // the first included
  absl::Duration first_wait = absl::Milliseconds(100);
  absl::Duration longest_wait = absl::Seconds(10);  // a longer RetryInfo is final, too
};

// How long to wait before another attempt after `attempts` failed ones, the last with `error`;
// nothing: do not retry. `repeatable`: making the call twice does the same as making it once.
std::optional<absl::Duration> WaitBeforeRetry(const RetryPolicy& policy, const absl::Status& error,
                                              int attempts, bool repeatable);

}  // namespace msa::client
