#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/generation/interleave.h"
#include "engine/generation/token_source.h"
#include "engine/memory/bank.h"
#include "engine/model/kv_pages.h"
#include "engine/query_events.h"
#include "engine/routing/selection.h"
#include "engine/scheduling/event_queue.h"
#include "engine/scheduling/forward_job.h"
#include "engine/scheduling/kept_rows.h"

namespace msa::engine {

// One request from admission to its end. Who touches what: the fixed part nobody changes;
// `cancelled` anyone; the rest the scheduler between steps, a rank inside a step, or
// the assembler while the state is kAssembling.
struct Query {
  enum class State {
    kWaiting,     // its next prompt waits for pages; holds none
    kPrefill,     // job: a prompt, or the answer block
    kDecode,      // pending_token is fed next
    kAssembling,  // cited texts are being read and the next prompt is being built; holds no pages
    kFinished,
  };

  // ---- fixed
  std::shared_ptr<Bank> bank;
  std::unique_ptr<BankPin> pin;
  std::optional<DocumentSet> documents;  // the only ones that it may find
  kernels::NumberSet documents_view;     // of them
  bool explain_layers = false;
  absl::Time deadline = absl::InfiniteFuture();
  absl::Duration arrival;              // monotonic
  std::shared_ptr<EventQueue> events;  // Generate; null for Retrieve
  int64_t max_new_rows = 0;            // most rows fed after a round's prompt

  std::atomic<bool> cancelled{false};

  // ---- life
  State state = State::kWaiting;
  std::unique_ptr<Interleave> interleave;  // Retrieve has none beyond its prompt
  std::unique_ptr<TokenSource> token_source;
  RoundPrompt prompt;  // of the round that waits or runs
  int round = 0;
  int num_started_rounds = 0;
  bool started = false;    // left the queue once
  absl::Status assembled;  // kAssembling: how it went
  Interleave::Action assembled_action = Interleave::Action::kExpand;

  // ---- inside steps
  int rank = -1;  // runs its prompts; -1: holds no pages
  SequenceKv kv;
  PromptJob job;
  KeptRows kept;                      // of the last round's prompt
  bool job_done = false;              // the planner planned the job's last slice
  std::vector<Selection> selections;  // [MSA layer] of this round
  int64_t num_local_rows = 0;
  int32_t pending_token = -1;
  absl::Status status;  // a failure of this sequence alone

  // ---- what is reported
  StageTimings timings;
  absl::Duration stalled_since = absl::ZeroDuration();  // monotonic; zero: the reader keeps up
  int64_t prompt_tokens = 0;
  std::vector<FinishedEvent::Source> sources;
  std::function<void(Query&)>
      finish_retrieve;  // Retrieve: hands the selections over, or status; called once
};

}  // namespace msa::engine
