#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/engine_observer.h"
#include "prometheus/registry.h"
#include "server/metric_table.h"
#include "server/rpc_method.h"

namespace msa::server {

// What happens, counted: the engine reports as its observer, the services their calls. What is
// there at a moment (memory, banks, the process) is read at each scrape by engine_collector and
// process_collector instead. Series are looked up once. Thread-safe.
class ServerMetrics : public engine::EngineObserver {
 public:
  ServerMetrics();
  ~ServerMetrics() override;

  std::shared_ptr<prometheus::Registry> registry() const { return registry_; }

  // ---- calls
  void StreamOpened(RpcMethod method);
  void StreamClosed(RpcMethod method);
  void CallEnded(RpcMethod method, absl::StatusCode code, absl::Duration elapsed);
  void AnswerEnded(const std::string& finish_reason);  // one of the values in the metric table

  // ---- EngineObserver
  void DocumentAccepted() override;
  void DocumentActive(int64_t num_tokens, absl::Duration since_accepted) override;
  void DocumentFailed() override;
  void DocumentDeduplicated() override;
  void ChecksumFailed() override;
  void RequestRejected(const absl::Status& status) override;
  void RequestStarted(absl::Duration queued) override;
  void FirstToken(absl::Duration since_arrival) override;
  void RequestFinished(const absl::Status& status, const engine::StageTimings& timings,
                       int64_t num_rounds, int64_t prompt_tokens,
                       int64_t generated_tokens) override;
  void Cited(int64_t num_known, int64_t num_unknown) override;
  void StepDone(int64_t decode_rows, int64_t prefill_rows, int64_t encode_rows,
                absl::Duration elapsed) override;
  void ShardScored(int shard, int64_t num_chunks, absl::Duration elapsed) override;
  void FirstPassDone(int64_t rescored_documents, int64_t fallbacks) override;
  void ContentFetched(int64_t num_bytes, absl::Duration elapsed) override;
  void DocumentEncoded(int64_t num_tokens, absl::Duration elapsed) override;

 private:
  struct Series;
  std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<Series> series_;
};

}  // namespace msa::server
