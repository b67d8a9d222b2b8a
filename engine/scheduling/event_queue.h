#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/query_events.h"

namespace msa::engine {

// Events of one query on their way to its reader, in order. Writers never wait: the scheduler asks
// full() before it lets the sequence write more. Thread-safe.
class EventQueue {
 public:
  // `max_bytes` of unread events make the queue full; a step's events may overshoot it once.
  // `on_ready` is called whenever a reader may find something new; it must not wait for a lock that
  // a caller of Detach holds.
  EventQueue(int64_t max_bytes, absl::AnyInvocable<void()> on_ready)
      : max_bytes_(max_bytes), on_ready_(std::move(on_ready)) {}

  // A place in the order for an event that is still being looked up; what follows waits for it.
  uint64_t Reserve();
  void Fill(uint64_t place, QueryEvent event);
  void Push(QueryEvent event);
  // No more events. Events pushed before are still read first; a later call changes nothing.
  void Close(absl::Status status);
  // The event of this place cannot be had: the stream ends there with `status`, whatever came after
  // it, also a Close that the reader has not seen yet.
  void Fail(uint64_t place, absl::Status status);
  // The reader is gone: on_ready is not called any more (and is not running when this returns),
  // events are dropped.
  void Detach();

  enum class ReadState { kEvent, kPending, kEnd };
  ReadState TryRead(QueryEvent* event);
  absl::Status status() const;

  bool full() const;
  bool failed() const;  // Fail was called; status() says with what

 private:
  void Notify();

  const int64_t max_bytes_;
  mutable std::mutex mutex_;
  std::deque<std::optional<QueryEvent>> events_;
  uint64_t first_place_ = 0;  // of events_.front()
  int64_t bytes_ = 0;
  bool closed_ = false;
  bool failed_ = false;
  bool detached_ = false;
  absl::Status status_;
  std::recursive_mutex notify_mutex_;  // held while on_ready_ runs; it may detach
  absl::AnyInvocable<void()> on_ready_;
};

}  // namespace msa::engine
