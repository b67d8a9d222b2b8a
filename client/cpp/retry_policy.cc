#include "client/cpp/retry_policy.h"

#include <algorithm>

#include "client/cpp/error_details.h"

namespace msa::client {

std::optional<absl::Duration> WaitBeforeRetry(const RetryPolicy& policy, const absl::Status& error,
                                              int attempts, bool repeatable) {
  const bool unavailable = error.code() == absl::StatusCode::kUnavailable;
  if (!unavailable && error.code() != absl::StatusCode::kResourceExhausted) return std::nullopt;
  if (attempts >= policy.max_attempts) return std::nullopt;
  const std::optional<absl::Duration> asked = DetailsOf(error).retry_delay;
  if (asked.has_value()) {
    if (*asked > policy.longest_wait) return std::nullopt;
    return std::max(*asked, absl::ZeroDuration());
  }
  if (!unavailable || !repeatable) return std::nullopt;
  absl::Duration wait = policy.first_wait;
  for (int i = 1; i < attempts && wait < policy.longest_wait; ++i) wait *= 2;
  return std::min(wait, policy.longest_wait);
}

}  // namespace msa::client
