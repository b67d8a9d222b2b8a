#include "server/job_call.h"

#include <utility>

#include "absl/time/clock.h"
#include "kernels/core/error_detail.h"
#include "server/unary_call.h"

namespace msa::server {
namespace {

absl::Status TooManyJobs() {
  return kernels::WithDetail(
      absl::ResourceExhaustedError("too many long jobs are waiting for their turn"),
      {.reason = "TOO_MANY_CALLS", .field = "", .metadata = {}, .retry_after = absl::Seconds(5)});
}

}  // namespace

JobCall* JobCall::Start(const ServiceContext& service, RpcMethod method,
                        const grpc::CallbackServerContext* context, Admission admission,
                        MakeProgress make_progress) {
  const std::shared_ptr<JobCall> call(new JobCall(service, method, context, make_progress));
  call->self_ = call;
  const bool posted = service.calls->Post(
      [call, admission = std::move(admission)]() mutable { call->Admit(std::move(admission)); });
  if (!posted) call->End(TooManyCalls());
  return call.get();  // owns itself
}

JobCall::JobCall(const ServiceContext& service, RpcMethod method,
                 const grpc::CallbackServerContext* context, MakeProgress make_progress)
    : service_(service),
      method_(method),
      context_(context),
      make_progress_(make_progress),
      record_(service, method) {
  service_.metrics->StreamOpened(method_);
}

void JobCall::Admit(Admission admission) {
  absl::StatusOr<Job> job = admission();
  if (!job.ok()) {
    End(job.status());
    return;
  }
  const bool posted =
      service_.jobs->Post([call = shared_from_this(), job = *std::move(job)]() mutable {
        // It may have waited for hours.
        const absl::Status ready = call->service_.state->CheckReady();
        if (!ready.ok()) call->End(ready);
        if (!call->Begin()) return;
        call->End(job(call.get()));
      });
  if (!posted) End(TooManyJobs());
}

bool JobCall::Begin() {
  const std::lock_guard lock(mutex_);
  has_begun_ = !ended_;
  return has_begun_;
}

void JobCall::Progress(const engine::JobProgress& progress) {
  const std::lock_guard lock(mutex_);
  const absl::Time now = absl::Now();
  if (writing_ || now - last_progress_ < kProgressInterval) return;
  last_progress_ = now;
  queued_.push_back(make_progress_(progress));
  Advance();
}

void JobCall::Report(const google::protobuf::Message& message) {
  const std::lock_guard lock(mutex_);
  if (num_reports_ == kMaxReports) return;
  ++num_reports_;
  queued_.push_back(SerializeMessage(message));
  Advance();
}

void JobCall::End(absl::StatusOr<grpc::ByteBuffer> last) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  ended_ = true;
  end_status_ = last.status();
  if (last.ok()) queued_.push_back(*std::move(last));
  Advance();
}

void JobCall::Advance() {
  if (writing_ || finished_) return;
  if (cancelled_.load()) {
    if (!ended_) return;  // the job looks at it from time to time
    finished_ = true;
    Finish(record_.End(absl::Now() >= DeadlineOf(*context_)
                           ? absl::DeadlineExceededError("the deadline passed")
                           : absl::CancelledError("the client cancelled the call")));
  } else if (!queued_.empty()) {
    outgoing_ = std::move(queued_.front());
    queued_.pop_front();
    writing_ = true;
    StartWrite(&outgoing_);
  } else if (ended_) {
    finished_ = true;
    Finish(record_.End(end_status_));
  }
}

void JobCall::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  if (!ok) cancelled_.store(true);
  Advance();
}

void JobCall::OnCancel() {
  const std::lock_guard lock(mutex_);
  cancelled_.store(true);
  if (!has_begun_) ended_ = true;  // and never will
  Advance();
}

void JobCall::OnDone() {
  service_.metrics->StreamClosed(method_);
  std::shared_ptr<JobCall> self;  // destroyed after the lock
  const std::lock_guard lock(mutex_);
  self.swap(self_);
}

}  // namespace msa::server
