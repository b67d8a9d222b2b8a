#include "kernels/core/thread_pool.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace msa::kernels {
namespace {

TEST(ThreadPoolTest, EveryTaskRunsExactlyOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (const int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
      pool.ParallelFor(tasks, [&](int64_t task) { ++runs[static_cast<size_t>(task)]; });
      for (const auto& count : runs) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPoolTest, ResultsAreVisibleToTheCallerOnReturn) {
  ThreadPool pool(4);
  for (int round = 0; round < 300; ++round) {
    std::vector<int64_t> squares(64);
    pool.ParallelFor(
        64, [&](int64_t task) { squares[static_cast<size_t>(task)] = task * task + round; });
    for (int64_t i = 0; i < 64; ++i) ASSERT_EQ(squares[static_cast<size_t>(i)], i * i + round);
  }
}

TEST(ThreadPoolTest, OneThreadRunsEverythingInTheCaller) {
  ThreadPool pool(1);
  pool.ParallelFor(16, [caller = std::this_thread::get_id()](int64_t) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
}

TEST(ThreadPoolTest, SeveralCallersShareTheWorkers) {
  ThreadPool pool(3);
  std::vector<int64_t> sums(4, 0);
  std::vector<std::thread> callers;
  for (size_t caller = 0; caller < sums.size(); ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 200; ++round) {
        std::atomic<int64_t> sum{0};
        pool.ParallelFor(50, [&](int64_t task) { sum += task + static_cast<int64_t>(caller); });
        sums[caller] += sum;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (size_t caller = 0; caller < sums.size(); ++caller) {
    EXPECT_EQ(sums[caller], 200 * (49 * 50 / 2 + 50 * static_cast<int64_t>(caller)));
  }
}

TEST(ThreadPoolTest, ACallWithWaitingTasksDoesNotHoldUpAnotherCaller) {
  ThreadPool pool(2);
  std::atomic<bool> release{false};
  std::thread blocked([&] {
    pool.ParallelFor(2, [&](int64_t) {
      while (!release) std::this_thread::yield();
    });
  });
  int64_t done = 0;
  std::atomic<int64_t> sum{0};
  pool.ParallelFor(100, [&](int64_t) { ++sum; });
  done = sum;
  release = true;
  blocked.join();
  EXPECT_EQ(done, 100);
}

double ProcessorSeconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

TEST(ThreadPoolTest, IdleWorkersUseNoProcessorTime) {
  ThreadPool pool(4);
  pool.ParallelFor(8, [](int64_t) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = ProcessorSeconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(ProcessorSeconds() - before, 0.02);
}

TEST(ThreadPoolDeathTest, NeedsAtLeastTheCallingThread) {
  EXPECT_DEATH(ThreadPool pool(0), "counts its calling thread");
}

}  // namespace
}  // namespace msa::kernels
