#pragma once

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "grpcpp/alarm.h"

namespace msa::server {

// Calls back when a time has passed, on a thread of gRPC. One caller at a time; its callback may
// run beside it.
class Timeout {
 public:
  // `on_timeout` must not wait for a lock under which Stop is called.
  explicit Timeout(std::function<void()> on_timeout);
  ~Timeout();  // Stop
  Timeout(const Timeout&) = delete;
  Timeout& operator=(const Timeout&) = delete;

  // Does nothing while an earlier start has not called back.
  void Start(absl::Duration after);

  // For good: when it returns, the callback does not run and will not.
  void Stop();

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the alarm, which may go off while this ends
  std::unique_ptr<grpc::Alarm> alarm_;
};

}  // namespace msa::server
