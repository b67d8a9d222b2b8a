#pragma once

#include <atomic>
#include <chrono>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/status.h"
#include "server/service_context.h"
#include "server/status_conversion.h"

namespace msa::server {

// One call: it is open while its record lives. Its entry in the metrics and its way to a final
// status. Thread-safe; End counts once.
class CallRecord {
 public:
  CallRecord(const ServiceContext& service, RpcMethod method)
      : metrics_(service.metrics), state_(service.state), method_(method) {
    state_->CallOpened();
  }
  ~CallRecord() { state_->CallClosed(); }
  CallRecord(const CallRecord&) = delete;
  CallRecord& operator=(const CallRecord&) = delete;

  grpc::Status End(const absl::Status& status) {
    const grpc::Status final_status = ToGrpcStatus(status, NameOf(method_));
    if (!ended_.exchange(true)) {
      metrics_->CallEnded(method_, static_cast<absl::StatusCode>(final_status.error_code()),
                          absl::Now() - start_);
    }
    return final_status;
  }

 private:
  ServerMetrics* metrics_;
  ServerState* state_;
  const RpcMethod method_;
  const absl::Time start_ = absl::Now();
  std::atomic<bool> ended_{false};
};

// The client's deadline; InfiniteFuture when it set none.
inline absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

}  // namespace msa::server
