#pragma once

#include <memory>
#include <utility>

#include "engine/engine.h"
#include "engine/scheduling/scheduler.h"

namespace msa::engine {

// The caller's side of a query: cancels it when asked or when destroyed. Must not outlive the
// engine.
class QueryHandle : public RequestHandle {
 public:
  QueryHandle(Scheduler* scheduler, std::shared_ptr<Query> query)
      : scheduler_(scheduler), query_(std::move(query)) {}
  ~QueryHandle() override { scheduler_->Cancel(query_.get()); }
  void Cancel() override { scheduler_->Cancel(query_.get()); }

 private:
  Scheduler* scheduler_;
  std::shared_ptr<Query> query_;
};

class QueryStream : public GenerateStream {
 public:
  QueryStream(Scheduler* scheduler, std::shared_ptr<Query> query)
      : events_(query->events), handle_(scheduler, std::move(query)) {}
  ~QueryStream() override { events_->Detach(); }

  void Cancel() override { handle_.Cancel(); }
  absl::Status status() const override { return events_->status(); }
  ReadState TryRead(QueryEvent* event) override {
    switch (events_->TryRead(event)) {
      case EventQueue::ReadState::kEvent:
        return ReadState::kEvent;
      case EventQueue::ReadState::kPending:
        return ReadState::kPending;
      case EventQueue::ReadState::kEnd:
        break;
    }
    return ReadState::kEnd;
  }

 private:
  std::shared_ptr<EventQueue> events_;
  QueryHandle handle_;  // destroyed first: cancels
};

}  // namespace msa::engine
