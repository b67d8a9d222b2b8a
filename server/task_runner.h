#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"

namespace msa::server {

// A few threads and a bounded queue: work that may block stays off gRPC's threads, and gRPC's work
// off the engine's. Thread-safe.
class TaskRunner {
 public:
  TaskRunner(int num_threads, size_t max_queued);
  ~TaskRunner();  // runs what is queued
  TaskRunner(const TaskRunner&) = delete;
  TaskRunner& operator=(const TaskRunner&) = delete;

  // False, and `task` is dropped, when max_queued tasks wait.
  [[nodiscard]] bool Post(absl::AnyInvocable<void()> task);

 private:
  void Work();

  const size_t max_queued_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<absl::AnyInvocable<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace msa::server
