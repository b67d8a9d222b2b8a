#include "client/cpp/retry_policy.h"

#include "client/cpp/error_details.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace msa::client {
namespace {

absl::Status WithRetryInfo(absl::StatusCode code, absl::Duration delay) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(delay));
  google::rpc::Status status;
  status.set_code(static_cast<int>(code));
  status.set_message("busy");
  status.add_details()->PackFrom(info);
  return ToAbslStatus(status);
}

TEST(RetryPolicy, WaitsDoubleForRepeatableCallsOnly) {
  const RetryPolicy policy;
  const absl::Status error = absl::UnavailableError("gone");
  EXPECT_EQ(WaitBeforeRetry(policy, error, 1, true), absl::Milliseconds(100));
  EXPECT_EQ(WaitBeforeRetry(policy, error, 2, true), absl::Milliseconds(200));
  EXPECT_EQ(WaitBeforeRetry(policy, error, 4, true), absl::Milliseconds(800));
  EXPECT_EQ(WaitBeforeRetry(policy, error, 5, true), std::nullopt);
  EXPECT_EQ(WaitBeforeRetry(policy, error, 1, false), std::nullopt);
}

TEST(RetryPolicy, WaitsNeverExceedTheLongest) {
  RetryPolicy policy;
  policy.max_attempts = 1000;
  EXPECT_EQ(WaitBeforeRetry(policy, absl::UnavailableError("gone"), 999, true),
            policy.longest_wait);
}

TEST(RetryPolicy, ServersRetryInfoRulesAlsoForCallsThatMayNotBeRepeated) {
  const RetryPolicy policy;
  for (const absl::StatusCode code :
       {absl::StatusCode::kUnavailable, absl::StatusCode::kResourceExhausted}) {
    EXPECT_EQ(WaitBeforeRetry(policy, WithRetryInfo(code, absl::Seconds(3)), 1, false),
              absl::Seconds(3));
    EXPECT_EQ(WaitBeforeRetry(policy, WithRetryInfo(code, absl::Seconds(3)), 5, false),
              std::nullopt);
    EXPECT_EQ(WaitBeforeRetry(policy, WithRetryInfo(code, absl::Seconds(3600)), 1, false),
              std::nullopt);
    EXPECT_EQ(WaitBeforeRetry(policy, WithRetryInfo(code, absl::Seconds(-3)), 1, false),
              absl::ZeroDuration());
  }
}

TEST(RetryPolicy, OtherErrorsAreFinal) {
  const RetryPolicy policy;
  EXPECT_EQ(WaitBeforeRetry(policy, absl::ResourceExhaustedError("budget"), 1, true), std::nullopt);
  EXPECT_EQ(WaitBeforeRetry(policy, absl::InternalError("defect"), 1, true), std::nullopt);
  EXPECT_EQ(WaitBeforeRetry(policy, absl::DeadlineExceededError("late"), 1, true), std::nullopt);
  EXPECT_EQ(WaitBeforeRetry(policy, WithRetryInfo(absl::StatusCode::kInternal, absl::Seconds(1)), 1,
                            true),
            std::nullopt);
}

}  // namespace
}  // namespace msa::client
