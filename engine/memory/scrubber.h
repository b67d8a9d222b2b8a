#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "engine/memory/bank_store.h"

namespace msa::engine {

// Verifies all banks that are open, again and again, at a bounded rate. What it finds goes to the
// observer by name.
class Scrubber {
 public:
  // What it needs of the store; on the scrubber's thread.
  struct Source {
    std::function<std::vector<BankInfo>()> banks;
    // Null where the bank is not open (any more).
    std::function<std::shared_ptr<Bank>(const std::string& name)> find;
    // Whether somebody waits for banks to be closed: then it lets go of the one that it reads.
    std::function<bool()> wants_room;
  };

  // Starts where options.scrub_interval is finite. `observer` must outlive this.
  Scrubber(const BankStoreOptions& options, Source source, MemoryObserver* observer);
  ~Scrubber();  // soon
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

 private:
  class Pace;
  void Run();
  void Verify(const std::string& name);
  bool SleepUnlessStopped(absl::Duration duration);  // false: stopped

  const absl::Duration interval_;
  const int64_t bytes_per_second_;
  const Source source_;
  MemoryObserver* const observer_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;  // under mutex_
  std::thread thread_;
};

}  // namespace msa::engine
