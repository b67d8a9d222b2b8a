#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"

namespace msa::kernels {

// The cores of this process, shared by all ranks. Idle workers block; nothing spins without a
// bound.
class ThreadPool {
 public:
  // `num_threads` counts the calling thread: 1 means that everything runs in the caller. It must be
  // at least 1.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const;

  // Calls body(0) … body(num_tasks - 1), each once, on the caller and the workers in any order, and
  // returns when all are done. Any number of threads may call this at the same time; they share the
  // workers. `body` must not throw, and must not call ParallelFor of the same pool. Results must
  // not depend on which thread ran a task.
  void ParallelFor(int64_t num_tasks, absl::FunctionRef<void(int64_t task)> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace msa::kernels
