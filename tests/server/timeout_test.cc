#include "server/timeout.h"

#include <atomic>
#include <memory>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace msa::server {
namespace {

TEST(Timeout, CallsBackOnceForManyStarts) {
  std::atomic<int> calls{0};
  Timeout timeout([&] { ++calls; });
  for (int i = 0; i < 10; ++i) timeout.Start(absl::Milliseconds(50));
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(calls, 1);
}

TEST(Timeout, StartsAgainAfterItCalledBack) {
  std::atomic<int> calls{0};
  Timeout timeout([&] { ++calls; });
  for (int i = 1; i <= 3; ++i) {
    timeout.Start(absl::Milliseconds(1));
    const absl::Time give_up = absl::Now() + absl::Seconds(10);
    while (calls < i && absl::Now() < give_up) absl::SleepFor(absl::Milliseconds(1));
    ASSERT_EQ(calls, i);
  }
}

TEST(Timeout, DoesNotCallBackAfterStop) {
  std::atomic<int> calls{0};
  Timeout timeout([&] { ++calls; });
  timeout.Start(absl::Milliseconds(100));
  timeout.Stop();
  const int before = calls;  // 0, unless this thread slept
  timeout.Start(absl::Milliseconds(1));
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(calls, before);
}

TEST(Timeout, StopWaitsForTheCallbackThatRuns) {
  absl::Notification entered;
  std::atomic<bool> left{false};
  Timeout timeout([&] {
    entered.Notify();
    absl::SleepFor(absl::Milliseconds(100));
    left.store(true);
  });
  timeout.Start(absl::ZeroDuration());
  entered.WaitForNotification();
  timeout.Stop();
  EXPECT_TRUE(left);
}

// Many go off just while they end; what the callback touches is gone right after.
TEST(Timeout, EndsCleanlyWhileItGoesOff) {
  for (int i = 0; i < 500; ++i) {
    auto count = std::make_unique<std::atomic<int>>(0);
    auto timeout = std::make_unique<Timeout>([&] { count->fetch_add(1); });
    timeout->Start(absl::Microseconds(i % 5 * 500));
    absl::SleepFor(absl::Microseconds(i % 7 * 300));
    timeout = nullptr;
    count = nullptr;
  }
}

}  // namespace
}  // namespace msa::server
