#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/engine_observer.h"
#include "engine/memory/document_encoder.h"
#include "engine/scheduling/encode_queue.h"
#include "engine/scheduling/query.h"
#include "engine/scheduling/query_runner.h"
#include "engine/scheduling/rank_team.h"
#include "engine/scheduling/step_plan.h"

namespace msa::engine {

struct SchedulerOptions {
  int64_t max_running = 32;
  int64_t max_queued_requests = 256;
  int64_t max_queued_tokens = int64_t{1} << 20;
  int64_t activation_bytes = int64_t{256} << 20;  // of prompts in work, and of documents in work
  absl::Duration slice_time = absl::Milliseconds(20);
  absl::Duration stalled_reader_timeout = absl::Seconds(30);
};

// Continuous batching over all ranks: one thread that, step after step, takes what has arrived,
// ends what is cancelled or late, starts rounds that fit, plans, lets the ranks work and acts on
// what they chose. A round starts only when all its rows fit in the free pages, and a waiting
// sequence holds no pages, so pages cannot deadlock; nor can activations, because a prompt that
// holds them waits for nothing. Rounds of started queries come before new queries; both are served
// in order of arrival.
//
// Who owns a query: the scheduler shares it with its handle from an OK Submit until its queue is
// closed.
class Scheduler {
 public:
  // Pointers must outlive the object. `team` belongs to the scheduler's thread from here on.
  Scheduler(const ModelConfig* config, const MemoryGeometry& geometry, int64_t template_rows,
            RankTeam* team, const SchedulerOptions& options, Clock* clock,
            EngineObserver* observer);
  ~Scheduler();  // Stop

  // RESOURCE_EXHAUSTED with retry_after when the queue is full, UNAVAILABLE when draining or
  // unhealthy.
  absl::Status Submit(std::shared_ptr<Query> query);
  // INVALID_ARGUMENT when the first prompt and what may follow it exceed the model's positions.
  absl::Status CheckPositions(const Query& query) const { return runner_.CheckPositions(query); }
  void Cancel(Query* query);
  void Encode(std::vector<int32_t> token_ids, DocumentEncoder::EncodeDone done);
  void AtStepBoundary(absl::AnyInvocable<void()> change);

  void Drain(absl::Duration grace);
  void Stop();  // fails what runs and waits with UNAVAILABLE, encodings with CANCELLED; idempotent

  bool healthy() const;
  int64_t num_running() const;
  int64_t num_waiting() const;
  int64_t reserved_pages() const;
  int64_t scratch_bytes() const;  // of all ranks, and of jobs that wait or run

 private:
  void Loop();
  void Step();
  void TakeInbox();    // waits when there is nothing to do
  void ReapQueries();  // cancelled, late, stalled
  void StartRounds();
  bool TryStartRound(const std::shared_ptr<Query>& query);
  StepPlan BuildPlan();
  void AfterStep(const StepPlan& plan, const std::vector<RankReport>& reports,
                 absl::Duration elapsed);
  void DropKeptRows();  // of the latest queries, where all keep more than the activations may take
  void FailEverything(const absl::Status& status);
  void Wake();
  absl::Duration IdleTime() const;  // until a deadline or a stalled reader needs a look

  RankTeam* team_;
  SchedulerOptions options_;
  Clock* clock_;
  EngineObserver* observer_;
  Planner planner_;

  // Shared with the callers.
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;  // no query is left
  bool woken_ = false;
  bool stop_ = false;
  bool stopped_ = false;
  bool draining_ = false;
  bool end_queries_ = false;  // the grace of a drain is over
  bool healthy_ = true;
  std::deque<std::shared_ptr<Query>> submitted_;
  std::deque<EncodeRequest> encode_inbox_;
  std::deque<absl::AnyInvocable<void()>> changes_;
  int64_t queued_requests_ = 0;  // submitted and not started
  int64_t queued_tokens_ = 0;
  int64_t num_queries_ = 0;  // submitted and not ended
  int64_t reserved_pages_ = 0;
  int64_t scratch_bytes_ = 0;

  // The scheduler's thread only.
  std::vector<std::shared_ptr<Query>> queries_;  // by arrival, not finished
  EncodeQueue encoder_;
  bool progressed_ = false;  // the last turn did something, so the next should look again
  QueryRunner runner_;
  std::thread thread_;  // last: starts when the rest is there
};

}  // namespace msa::engine
