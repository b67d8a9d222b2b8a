#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/memory/job_monitor.h"
#include "google/protobuf/message.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/call_record.h"
#include "server/job_conversion.h"
#include "server/message_codec.h"
#include "server/service_context.h"

namespace msa::server {

// One long job of a bank (verify, back up, …) as a call that streams how far it has come. The
// request is checked on the call runner, so that a wrong one is refused at once; the job waits for
// a thread of the job runner (RESOURCE_EXHAUSTED where too many wait) and blocks it. Progress is
// sent a few times a second and never waits for a slow reader. A client that goes cancels the job,
// which asks for it as its monitor; one that waits never begins.
//
// Threads: the job's for progress and reports, gRPC's for writes and cancellation. The object lives
// until gRPC is done with it (OnDone) and no task holds it.
class JobCall : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                public engine::JobMonitor,
                public std::enable_shared_from_this<JobCall> {
 public:
  static constexpr absl::Duration kProgressInterval = absl::Milliseconds(200);
  static constexpr int64_t kMaxReports = 1000;

  // The job itself gives the last message, or why there is none. Admission gives the job.
  using Job = absl::AnyInvocable<absl::StatusOr<grpc::ByteBuffer>(JobCall*)>;
  using Admission = absl::AnyInvocable<absl::StatusOr<Job>()>;
  using MakeProgress = grpc::ByteBuffer (*)(const engine::JobProgress&);

  static JobCall* Start(const ServiceContext& service, RpcMethod method,
                        const grpc::CallbackServerContext* context, Admission admission,
                        MakeProgress make_progress);

  // What the job finds, in this order. Only the first kMaxReports are sent.
  void Report(const google::protobuf::Message& message);

  void Progress(const engine::JobProgress& progress) override;
  bool IsCancelled() const override { return cancelled_.load(); }

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  JobCall(const ServiceContext& service, RpcMethod method,
          const grpc::CallbackServerContext* context, MakeProgress make_progress);

  void Admit(Admission admission);
  bool Begin();  // false where the call has ended meanwhile
  void End(absl::StatusOr<grpc::ByteBuffer> last);
  void Advance();  // starts the write or the end that is due; with mutex_ held

  const ServiceContext& service_;
  const RpcMethod method_;
  const grpc::CallbackServerContext* const context_;
  const MakeProgress make_progress_;
  CallRecord record_;
  std::atomic<bool> cancelled_{false};

  std::mutex mutex_;
  std::shared_ptr<JobCall> self_;        // until OnDone
  std::deque<grpc::ByteBuffer> queued_;  // to be written
  grpc::ByteBuffer outgoing_;
  bool writing_ = false;
  bool has_begun_ = false;  // the job
  bool ended_ = false;      // the job; what is queued is still written
  bool finished_ = false;
  absl::Status end_status_;
  absl::Time last_progress_ = absl::InfinitePast();
  int64_t num_reports_ = 0;
};

// A job whose last message is a `Response`.
template <class Response>
using JobOf = absl::AnyInvocable<absl::Status(JobCall* call, Response* last)>;

// `admit(const Request&) -> absl::StatusOr<JobOf<Response>>`. `in` is valid until RunJob returns.
template <class Request, class Response, class Admit>
JobCall* RunJob(const ServiceContext& service, RpcMethod method,
                const grpc::CallbackServerContext* context, const grpc::ByteBuffer* in,
                Admit admit) {
  // A copy of `in` (of its references): a call that is cancelled while it waits is over before this.
  auto admission = [&service, bytes = *in, admit]() mutable -> absl::StatusOr<JobCall::Job> {
    Request request;
    absl::Status status = ParseMessage(bytes, &request);
    if (status.ok()) status = service.state->CheckReady();
    if (!status.ok()) return status;
    absl::StatusOr<JobOf<Response>> job = admit(request);
    if (!job.ok()) return job.status();
    return [job = *std::move(job)](JobCall* call) mutable -> absl::StatusOr<grpc::ByteBuffer> {
      Response last;
      const absl::Status done = job(call, &last);
      if (!done.ok()) return done;
      return SerializeMessage(last);
    };
  };
  return JobCall::Start(service, method, context, std::move(admission),
                        [](const engine::JobProgress& progress) {
                          Response response;
                          ToProto(progress, response.mutable_progress());
                          return SerializeMessage(response);
                        });
}

}  // namespace msa::server
