#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "engine/memory/bank_store.h"

namespace msa::engine {

// Verifies all banks in the background, again and again, at a bounded rate. What it finds goes to
// the observer by name.
class Scrubber {
 public:
  using Banks = std::vector<std::shared_ptr<Bank>>;

  // Starts where options.scrub_interval is finite. `list_banks` gives those that can be used.
  // `observer` must outlive this.
  Scrubber(const BankStoreOptions& options, std::function<Banks()> list_banks,
           MemoryObserver* observer);
  ~Scrubber();  // soon
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

 private:
  class Pace;
  void Run();
  void Verify(Bank* bank);
  bool SleepUnlessStopped(absl::Duration duration);  // false: stopped

  const absl::Duration interval_;
  const int64_t bytes_per_second_;
  const std::function<Banks()> list_banks_;
  MemoryObserver* const observer_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;  // under mutex_
  std::thread thread_;
};

}  // namespace msa::engine
