#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "absl/functional/any_invocable.h"

namespace msa::engine {

// One thread for what must not hold up a step: reading cited texts, building prompts, looking up
// document ids. Tasks run in order. Thread-safe.
class BackgroundWorker {
 public:
  BackgroundWorker();
  ~BackgroundWorker() { Stop(); }

  void Run(absl::AnyInvocable<void()> task);  // not after Stop
  void Stop();  // runs what is queued, then ends; idempotent, from one thread

 private:
  void Loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<absl::AnyInvocable<void()>> tasks_;
  bool stop_ = false;
  std::thread thread_;  // last: starts when the rest is there
};

}  // namespace msa::engine
