#include "kernels/core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/core/check.h"

namespace msa::kernels {
namespace {

// Before it blocks, a thread gives its core away this many times: ops follow each other within
// microseconds, and waking a blocked thread costs tens of them. Yielding, not pausing, so that
// others run when there are more threads than cores.
constexpr int kYieldsBeforeBlocking = 40;

// One call of ParallelFor; lives on its caller's stack.
struct Job {
  absl::FunctionRef<void(int64_t)> body;
  int64_t num_tasks;
  std::atomic<int64_t> next_task{0};
  // Workers inside; changed under the mutex, read without it while yielding.
  std::atomic<int> num_helpers{0};

  bool HasTasks() const { return next_task.load(std::memory_order_relaxed) < num_tasks; }
  void Run() {
    for (int64_t task; (task = next_task.fetch_add(1, std::memory_order_relaxed)) < num_tasks;)
      body(task);
  }
};

}  // namespace

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable work_arrived;
  std::condition_variable helper_left;
  std::vector<Job*> jobs;  // callers' jobs that may have tasks left
  bool stopping = false;
  std::atomic<int64_t> num_jobs_started{0};
  int num_sleeping = 0;  // workers blocked in work_arrived
  std::vector<std::thread> workers;

  Job* FindJob() {
    for (Job* job : jobs) {
      if (job->HasTasks()) return job;
    }
    return nullptr;
  }

  void Work() {
    std::unique_lock<std::mutex> lock(mutex);
    while (!stopping) {
      if (Job* job = FindJob()) {
        job->num_helpers.fetch_add(1, std::memory_order_relaxed);
        // The next worker starts with the next job, so that several callers share the workers.
        std::rotate(jobs.begin(), std::find(jobs.begin(), jobs.end(), job) + 1, jobs.end());
        lock.unlock();
        job->Run();
        lock.lock();
        if (job->num_helpers.fetch_sub(1, std::memory_order_release) == 1) helper_left.notify_all();
        continue;
      }
      const int64_t seen = num_jobs_started.load(std::memory_order_relaxed);
      lock.unlock();
      for (int i = 0;
           i < kYieldsBeforeBlocking && num_jobs_started.load(std::memory_order_relaxed) == seen;
           ++i) {
        std::this_thread::yield();
      }
      lock.lock();
      ++num_sleeping;
      work_arrived.wait(lock, [&] { return stopping || FindJob() != nullptr; });
      --num_sleeping;
    }
  }
};

ThreadPool::ThreadPool(int num_threads) : state_(std::make_unique<State>()) {
  MSA_CHECK(num_threads >= 1, "a thread pool counts its calling thread");
  for (int i = 1; i < num_threads; ++i)
    state_->workers.emplace_back([state = state_.get()] { state->Work(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    MSA_CHECK(state_->jobs.empty(), "a thread pool was destroyed while a ParallelFor ran");
    state_->stopping = true;
  }
  state_->work_arrived.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::num_threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::ParallelFor(int64_t num_tasks, absl::FunctionRef<void(int64_t task)> body) {
  if (num_tasks <= 1 || state_->workers.empty()) {
    for (int64_t task = 0; task < num_tasks; ++task) body(task);
    return;
  }
  Job job{body, num_tasks};
  int64_t num_to_wake = 0;
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->jobs.push_back(&job);
    state_->num_jobs_started.fetch_add(1, std::memory_order_relaxed);
    num_to_wake = std::min<int64_t>(num_tasks - 1, state_->num_sleeping);
  }
  for (int64_t i = 0; i < num_to_wake; ++i) state_->work_arrived.notify_one();
  job.Run();
  for (int i = 0; i < kYieldsBeforeBlocking && job.num_helpers.load(std::memory_order_relaxed) != 0;
       ++i) {
    std::this_thread::yield();
  }
  std::unique_lock<std::mutex> lock(state_->mutex);
  std::erase(state_->jobs, &job);
  state_->helper_left.wait(lock,
                           [&] { return job.num_helpers.load(std::memory_order_acquire) == 0; });
}

}  // namespace msa::kernels
