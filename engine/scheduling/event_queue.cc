#include "engine/scheduling/event_queue.h"

#include <utility>

namespace msa::engine {
namespace {

int64_t TextBytes(const QueryEvent& event) {
  struct Visitor {
    int64_t operator()(const StartedEvent&) const { return 64; }
    int64_t operator()(const RoundEvent& e) const {
      int64_t bytes = 64;
      for (const RoutedDocument& document : e.documents) {
        bytes += 64 + static_cast<int64_t>(document.id.size() + document.text.size());
        bytes += 16 * static_cast<int64_t>(document.layers.size());
      }
      for (const LayerSelection& layer : e.layers) {
        bytes += 16 + 8 * static_cast<int64_t>(layer.numbers.size());
      }
      return bytes;
    }
    int64_t operator()(const CitationsEvent& e) const {
      return 64 + 64 * static_cast<int64_t>(e.documents.size() + e.unknown_numbers.size());
    }
    int64_t operator()(const TokenEvent& e) const {
      return 64 + static_cast<int64_t>(e.text.size());
    }
    int64_t operator()(const FinishedEvent& e) const {
      return 256 + static_cast<int64_t>(e.answer.size());
    }
  };
  return std::visit(Visitor{}, event);
}

}  // namespace

uint64_t EventQueue::Reserve() {
  std::lock_guard lock(mutex_);
  if (failed_) return first_place_ + events_.size();  // Fill drops it
  events_.emplace_back();
  return first_place_ + events_.size() - 1;
}

void EventQueue::Fill(uint64_t place, QueryEvent event) {
  {
    std::lock_guard lock(mutex_);
    // Dropped: the reader is gone, or the place went when the queue closed with an error.
    if (detached_ || place - first_place_ >= events_.size()) return;
    bytes_ += TextBytes(event);
    events_[place - first_place_] = std::move(event);
  }
  Notify();
}

void EventQueue::Push(QueryEvent event) { Fill(Reserve(), std::move(event)); }

void EventQueue::Close(absl::Status status) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    status_ = std::move(status);
    // An error does not wait for look-ups that may never come.
    if (!status_.ok()) {
      while (!events_.empty() && !events_.back()) events_.pop_back();
    }
  }
  Notify();
}

void EventQueue::Fail(uint64_t place, absl::Status status) {
  {
    std::lock_guard lock(mutex_);
    if (place - first_place_ >= events_.size()) return;  // cut off by an error before
    while (events_.size() > place - first_place_) {
      if (events_.back()) bytes_ -= TextBytes(*events_.back());
      events_.pop_back();
    }
    failed_ = true;
    closed_ = true;
    status_ = std::move(status);
  }
  Notify();
}

void EventQueue::Detach() {
  {
    std::lock_guard lock(mutex_);
    detached_ = true;
  }
  std::lock_guard running(notify_mutex_);
  on_ready_ = nullptr;
}

EventQueue::ReadState EventQueue::TryRead(QueryEvent* event) {
  std::lock_guard lock(mutex_);
  if (events_.empty()) return closed_ ? ReadState::kEnd : ReadState::kPending;
  if (!events_.front()) return ReadState::kPending;
  *event = *std::move(events_.front());
  bytes_ -= TextBytes(*event);
  events_.pop_front();
  ++first_place_;
  return ReadState::kEvent;
}

absl::Status EventQueue::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

bool EventQueue::full() const {
  std::lock_guard lock(mutex_);
  return bytes_ >= max_bytes_;
}

bool EventQueue::failed() const {
  std::lock_guard lock(mutex_);
  return failed_;
}

void EventQueue::Notify() {
  std::lock_guard running(notify_mutex_);
  if (on_ready_) on_ready_();
}

}  // namespace msa::engine
