#pragma once

#include <condition_variable>
#include <mutex>

namespace msa::engine {

// Closed until it is opened, once. Lets a test hold a thread at a place, or wait until it is there.
class Gate {
 public:
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

}  // namespace msa::engine
