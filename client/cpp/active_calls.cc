#include "client/cpp/active_calls.h"

namespace msa::client {

void ActiveCalls::CancelAll() {
  std::lock_guard<std::mutex> lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
  changed_.notify_all();
}

bool ActiveCalls::cancelled() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return cancelled_;
}

bool ActiveCalls::Wait(absl::Duration time) {
  std::unique_lock<std::mutex> lock(mutex_);
  return !changed_.wait_for(lock, absl::ToChronoNanoseconds(time), [this] { return cancelled_; });
}

ActiveCall::ActiveCall(ActiveCalls* calls, absl::Duration timeout) : calls_(calls) {
  if (timeout < kEndlessTime) {
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::duration_cast<std::chrono::system_clock::duration>(
                              absl::ToChronoNanoseconds(timeout)));
  }
  std::lock_guard<std::mutex> lock(calls_->mutex_);
  calls_->contexts_.insert(&context_);
  if (calls_->cancelled_) context_.TryCancel();
}

ActiveCall::~ActiveCall() {
  std::lock_guard<std::mutex> lock(calls_->mutex_);
  calls_->contexts_.erase(&context_);
}

}  // namespace msa::client
