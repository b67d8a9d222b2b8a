#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>

#include "absl/time/time.h"
#include "grpcpp/client_context.h"

namespace msa::client {

// Times from here on count as infinite: clocks overflow somewhere beyond.
inline constexpr absl::Duration kEndlessTime = absl::Hours(24 * 365);

// The calls of one client that run now, so that another thread can cancel them all. Thread-safe.
class ActiveCalls {
 public:
  // Cancels what runs and everything that is begun later, and ends waits.
  void CancelAll();
  bool cancelled() const;

  // Sleeps, for a shorter time when cancelled. Returns whether the whole time has passed.
  bool Wait(absl::Duration time);

 private:
  friend class ActiveCall;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;                   // GUARDED_BY(mutex_)
  std::set<grpc::ClientContext*> contexts_;  // GUARDED_BY(mutex_)
};

// One call's context for as long as it lives. Not thread-safe, but for the context's own TryCancel.
class ActiveCall {
 public:
  // `timeout`: kEndlessTime or more for no deadline.
  ActiveCall(ActiveCalls* calls, absl::Duration timeout);
  ~ActiveCall();
  ActiveCall(const ActiveCall&) = delete;
  ActiveCall& operator=(const ActiveCall&) = delete;

  grpc::ClientContext* context() { return &context_; }

 private:
  ActiveCalls* const calls_;
  grpc::ClientContext context_;
};

}  // namespace msa::client
