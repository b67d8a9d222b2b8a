#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/memory/bank_store.h"
#include "engine/query_events.h"

namespace msa::engine {

// What the engine reports for metrics. Called on engine threads, per step or request and not per
// token; must not block. All methods have empty defaults.
class EngineObserver : public MemoryObserver {
 public:
  virtual void RequestRejected(const absl::Status& /*status*/) {}
  virtual void RequestStarted(absl::Duration /*queued*/) {}
  virtual void FirstToken(absl::Duration /*since_arrival*/) {}
  virtual void RequestFinished(const absl::Status& /*status*/, const StageTimings& /*timings*/,
                               int64_t /*num_rounds*/, int64_t /*prompt_tokens*/,
                               int64_t /*generated_tokens*/) {}
  virtual void Cited(int64_t /*num_known*/, int64_t /*num_unknown*/) {}
  virtual void StepDone(int64_t /*decode_rows*/, int64_t /*prefill_rows*/, int64_t /*encode_rows*/,
                        absl::Duration /*elapsed*/) {}
  virtual void ShardScored(int /*shard*/, int64_t /*num_chunks*/, absl::Duration /*elapsed*/) {}
  // First passes over quantised keys: documents read exactly afterwards, and passes after which all
  // were.
  virtual void FirstPassDone(int64_t /*rescored_documents*/, int64_t /*fallbacks*/) {}
  virtual void ContentFetched(int64_t /*num_bytes*/, absl::Duration /*elapsed*/) {}
  virtual void DocumentEncoded(int64_t /*num_tokens*/, absl::Duration /*elapsed*/) {}
};

}  // namespace msa::engine
