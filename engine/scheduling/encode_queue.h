#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "engine/engine_observer.h"
#include "engine/memory/clock.h"
#include "engine/memory/document_encoder.h"
#include "engine/model/model_config.h"
#include "engine/scheduling/forward_job.h"

namespace msa::engine {

// A document that waits to be encoded.
struct EncodeRequest {
  std::vector<int32_t> token_ids;
  DocumentEncoder::EncodeDone done;
};

// Documents on their way through the ranks: short ones share a job, each rank has one job at a
// time. Used by the scheduler's thread only.
class EncodeQueue {
 public:
  // Pointers must outlive the object.
  EncodeQueue(const ModelConfig* config, const MemoryGeometry& geometry, int num_ranks,
              int64_t activation_bytes, Clock* clock, EngineObserver* observer);

  void Push(std::deque<EncodeRequest> requests);
  // For the ranks that have none, while their activations fit; the next in turn is never passed.
  void FormJobs();
  std::vector<std::vector<EncodeJob*>> Jobs() const;  // [rank], what the planner takes
  void FinishJobs();                                  // hands over what the last step completed
  int64_t activation_bytes() const;                   // of the jobs in work
  void CancelAll();                                   // CANCELLED for all that is left

 private:
  int64_t NextJobRows() const;
  std::unique_ptr<EncodeJob> NextJob(int64_t num_rows);

  const ModelConfig* config_;
  MemoryGeometry geometry_;
  int64_t max_activation_bytes_;
  Clock* clock_;
  EngineObserver* observer_;
  std::deque<EncodeRequest> waiting_;
  std::vector<std::unique_ptr<EncodeJob>> jobs_;  // [rank], null: none
};

}  // namespace msa::engine
