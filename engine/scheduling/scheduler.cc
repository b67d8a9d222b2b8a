#include "engine/scheduling/scheduler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/error_detail.h"

namespace msa::engine {
namespace {

constexpr absl::Duration kStalledPoll = absl::Milliseconds(20);

absl::Status Unavailable(std::string_view why) {
  return kernels::WithDetail(
      absl::UnavailableError(std::string(why)),
      {.reason = "UNAVAILABLE", .field = "", .metadata = {}, .retry_after = absl::Seconds(1)});
}

// The rank that failed by itself; the others were woken from a collective and say ABORTED. -1: none.
int FailedRank(const std::vector<RankReport>& reports) {
  int failed = -1;
  for (size_t r = 0; r < reports.size(); ++r) {
    if (reports[r].status.ok()) continue;
    if (!absl::IsAborted(reports[r].status)) return static_cast<int>(r);
    failed = static_cast<int>(r);
  }
  return failed;
}

}  // namespace

Scheduler::Scheduler(const ModelConfig* config, const MemoryGeometry& geometry,
                     int64_t template_rows, RankTeam* team, const SchedulerOptions& options,
                     Clock* clock, EngineObserver* observer)
    : team_(team),
      options_(options),
      clock_(clock),
      observer_(observer),
      planner_(config, team->size(), options.slice_time),
      encoder_(config, geometry, team->size(), options.activation_bytes, clock, observer),
      runner_(config, template_rows, team, options.activation_bytes, clock, observer,
              [this] { Wake(); }),
      thread_([this] { Loop(); }) {}

Scheduler::~Scheduler() { Stop(); }

absl::Status Scheduler::Submit(std::shared_ptr<Query> query) {
  const auto tokens = static_cast<int64_t>(query->prompt.token_ids.size());
  {
    std::lock_guard lock(mutex_);
    if (!healthy_) return Unavailable("the engine failed and is restarting");
    if (draining_ || stop_) return Unavailable("the server is shutting down");
    if (queued_requests_ >= options_.max_queued_requests ||
        queued_tokens_ + tokens > options_.max_queued_tokens) {
      const bool requests = queued_requests_ >= options_.max_queued_requests;
      const int64_t limit = requests ? options_.max_queued_requests : options_.max_queued_tokens;
      const int64_t actual = requests ? queued_requests_ : queued_tokens_ + tokens;
      const char* const unit = requests ? "requests" : "tokens";
      return kernels::WithDetail(
          absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", actual, " ", unit,
                                                    " wait, at most ", limit, " may")),
          {.reason = "QUEUE_FULL",
           .field = "",
           .metadata = {{"limit", absl::StrCat(limit)},
                        {"actual", absl::StrCat(actual)},
                        {"unit", unit}},
           .retry_after = absl::Seconds(1)});
    }
    ++queued_requests_;
    queued_tokens_ += tokens;
    ++num_queries_;
    submitted_.push_back(std::move(query));
    woken_ = true;
  }
  wake_.notify_one();
  return absl::OkStatus();
}

void Scheduler::Cancel(Query* query) {
  query->cancelled.store(true);
  Wake();
}

void Scheduler::Encode(std::vector<int32_t> token_ids, DocumentEncoder::EncodeDone done) {
  {
    std::lock_guard lock(mutex_);
    if (!stopped_ && healthy_) {
      encode_inbox_.push_back({std::move(token_ids), std::move(done)});
      done = nullptr;
      woken_ = true;
    }
  }
  if (done) {
    done(absl::CancelledError("the engine has stopped"));
    return;
  }
  wake_.notify_one();
}

void Scheduler::AtStepBoundary(absl::AnyInvocable<void()> change) {
  {
    std::lock_guard lock(mutex_);
    if (!stopped_) {
      changes_.push_back(std::move(change));
      change = nullptr;
      woken_ = true;
    }
  }
  if (change) {
    change();
    return;
  }
  wake_.notify_one();
}

void Scheduler::Wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  wake_.notify_one();
}

void Scheduler::Drain(absl::Duration grace) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  const auto none_left = [this] { return num_queries_ == 0; };
  if (grace == absl::InfiniteDuration()) {
    idle_.wait(lock, none_left);
    return;
  }
  if (idle_.wait_for(lock, absl::ToChronoNanoseconds(grace), none_left)) return;
  end_queries_ = true;
  woken_ = true;
  wake_.notify_one();
  idle_.wait(lock, [&] { return none_left() || stop_; });
}

void Scheduler::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    woken_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  runner_.Stop();
}

bool Scheduler::healthy() const {
  std::lock_guard lock(mutex_);
  return healthy_;
}

int64_t Scheduler::num_running() const {
  std::lock_guard lock(mutex_);
  return num_queries_ - queued_requests_;
}

int64_t Scheduler::num_waiting() const {
  std::lock_guard lock(mutex_);
  return queued_requests_;
}

int64_t Scheduler::reserved_pages() const {
  std::lock_guard lock(mutex_);
  return reserved_pages_;
}

int64_t Scheduler::scratch_bytes() const {
  std::lock_guard lock(mutex_);
  return scratch_bytes_;
}

void Scheduler::Loop() {
  while (true) {
    TakeInbox();
    bool stop;
    {
      std::lock_guard lock(mutex_);
      stop = stop_;
    }
    if (stop) break;
    Step();
  }
  FailEverything(Unavailable("the server is shutting down"));
}

void Scheduler::TakeInbox() {
  std::unique_lock lock(mutex_);
  reserved_pages_ = team_->pool().reserved_pages();
  scratch_bytes_ = encoder_.activation_bytes();
  for (int r = 0; r < team_->size(); ++r) scratch_bytes_ += team_->rank(r).scratch_bytes();
  for (const std::shared_ptr<Query>& query : queries_)
    scratch_bytes_ += query->job.activation_bytes() + query->kept.bytes();
  num_queries_ = static_cast<int64_t>(queries_.size() + submitted_.size());
  if (num_queries_ == 0) idle_.notify_all();
  if (!progressed_) {
    const absl::Duration idle = IdleTime();
    const auto ready = [this] { return woken_; };
    if (idle == absl::InfiniteDuration()) {
      wake_.wait(lock, ready);
    } else {
      wake_.wait_for(lock, absl::ToChronoNanoseconds(idle), ready);
    }
  }
  woken_ = false;
  for (std::shared_ptr<Query>& query : submitted_) queries_.push_back(std::move(query));
  submitted_.clear();
  if (!encode_inbox_.empty()) encoder_.Push(std::exchange(encode_inbox_, {}));
  if (changes_.empty()) return;
  std::deque<absl::AnyInvocable<void()>> changes = std::exchange(changes_, {});
  lock.unlock();
  for (absl::AnyInvocable<void()>& change : changes) change();
}

absl::Duration Scheduler::IdleTime() const {
  absl::Duration idle = absl::InfiniteDuration();
  const absl::Time now = clock_->Now();
  for (const std::shared_ptr<Query>& query : queries_) {
    if (query->stalled_since != absl::ZeroDuration()) idle = std::min(idle, kStalledPoll);
    idle = std::min(idle, std::max(query->deadline - now, absl::Milliseconds(1)));
  }
  return idle;
}

void Scheduler::Step() {
  progressed_ = false;
  for (const std::shared_ptr<Query>& query : runner_.TakeAssembled()) runner_.AfterAssembly(query);
  ReapQueries();
  StartRounds();
  encoder_.FormJobs();
  const StepPlan plan = BuildPlan();
  if (!plan.empty()) {
    progressed_ = true;
    const absl::Duration start = clock_->Monotonic();
    const std::vector<RankReport> reports = team_->Execute(plan);
    AfterStep(plan, reports, clock_->Monotonic() - start);
    DropKeptRows();
  }
  std::erase_if(queries_,
                [](const auto& query) { return query->state == Query::State::kFinished; });
}

void Scheduler::DropKeptRows() {
  int64_t bytes = 0;
  for (const std::shared_ptr<Query>& query : queries_) {
    if (query->state == Query::State::kFinished) continue;
    bytes += query->kept.bytes();
    if (bytes <= options_.activation_bytes) continue;
    bytes -= query->kept.bytes();
    query->kept = KeptRows();
  }
}

void Scheduler::ReapQueries() {
  const absl::Time now = clock_->Now();
  const absl::Duration monotonic = clock_->Monotonic();
  bool end_queries;
  {
    std::lock_guard lock(mutex_);
    end_queries = end_queries_;
  }
  for (const std::shared_ptr<Query>& query : queries_) {
    if (query->state == Query::State::kAssembling || query->state == Query::State::kFinished)
      continue;
    const bool was_started = query->started;
    const bool stalled = query->events != nullptr && query->events->full();
    if (!stalled) query->stalled_since = absl::ZeroDuration();
    if (stalled && query->stalled_since == absl::ZeroDuration()) query->stalled_since = monotonic;
    if (query->cancelled.load()) {
      runner_.Fail(query, absl::CancelledError("the client cancelled the request"));
    } else if (query->events != nullptr && query->events->failed()) {
      runner_.Fail(query, query->events->status());
    } else if (end_queries) {
      runner_.Fail(query, Unavailable("the server is shutting down"));
    } else if (now >= query->deadline) {
      runner_.Fail(
          query, kernels::WithDetail(absl::DeadlineExceededError(
                                         absl::StrCat("the deadline passed while the request was ",
                                                      was_started ? "running" : "queued")),
                                     {.reason = "DEADLINE_EXCEEDED",
                                      .field = "",
                                      .metadata = {{"phase", was_started ? "running" : "queued"}},
                                      .retry_after = {}}));
    } else if (stalled && monotonic - query->stalled_since >= options_.stalled_reader_timeout) {
      runner_.Fail(query, absl::ResourceExhaustedError(
                              absl::StrCat("the stream was not read for ",
                                           absl::FormatDuration(options_.stalled_reader_timeout))));
    }
    if (query->state != Query::State::kFinished) continue;
    progressed_ = true;
    if (was_started) continue;
    std::lock_guard lock(mutex_);
    --queued_requests_;
    queued_tokens_ -= static_cast<int64_t>(query->prompt.token_ids.size());
  }
}

void Scheduler::StartRounds() {
  // A round that does not fit keeps its turn: later ones may not overtake it for ever.
  for (const std::shared_ptr<Query>& query : queries_) {
    if (query->state != Query::State::kWaiting || !query->started) continue;
    if (!TryStartRound(query)) return;
    progressed_ = true;
  }
  const auto busy = [](const auto& query) {
    return query->started && query->state != Query::State::kFinished;
  };
  int64_t running = std::count_if(queries_.begin(), queries_.end(), busy);
  for (const std::shared_ptr<Query>& query : queries_) {
    if (query->state != Query::State::kWaiting || query->started) continue;
    if (running >= options_.max_running || !TryStartRound(query)) return;
    ++running;
    progressed_ = true;
    std::lock_guard lock(mutex_);
    --queued_requests_;
    queued_tokens_ -= static_cast<int64_t>(query->prompt.token_ids.size());
  }
}

bool Scheduler::TryStartRound(const std::shared_ptr<Query>& query) {
  int64_t in_work = 0;
  std::vector<int64_t> prompt_rows(static_cast<size_t>(team_->size()));
  for (const std::shared_ptr<Query>& other : queries_) {
    in_work += other->job.activation_bytes();
    if (other->rank >= 0) prompt_rows[static_cast<size_t>(other->rank)] += other->job.num_rows();
  }
  const auto rank = std::min_element(prompt_rows.begin(), prompt_rows.end()) - prompt_rows.begin();
  const int64_t free_bytes =
      in_work == 0 ? std::numeric_limits<int64_t>::max() : options_.activation_bytes - in_work;
  return runner_.TryStartRound(query, static_cast<int>(rank), free_bytes);
}

StepPlan Scheduler::BuildPlan() {
  const auto ranks = static_cast<size_t>(team_->size());
  std::vector<std::vector<Query*>> prefills(ranks);
  std::vector<Query*> decodes;
  for (const std::shared_ptr<Query>& query : queries_) {
    const auto rank = static_cast<size_t>(query->rank);
    if (query->state == Query::State::kPrefill) prefills[rank].push_back(query.get());
    if (query->state == Query::State::kDecode && query->stalled_since == absl::ZeroDuration()) {
      decodes.push_back(query.get());
    }
  }
  return planner_.Plan(prefills, encoder_.Jobs(), std::move(decodes));
}

void Scheduler::AfterStep(const StepPlan& plan, const std::vector<RankReport>& reports,
                          absl::Duration elapsed) {
  double row_layers = 0;
  int64_t prefill_rows = 0, encode_rows = 0;
  absl::Duration slice_time;
  if (const int failed = FailedRank(reports); failed >= 0) {
    {
      std::lock_guard lock(mutex_);
      healthy_ = false;
    }
    const absl::Status& status = reports[static_cast<size_t>(failed)].status;
    FailEverything(
        Unavailable(absl::StrCat("shard ", failed, " failed: ", std::string(status.message()))));
    return;
  }
  for (int r = 0; r < team_->size(); ++r) {
    const RankReport& report = reports[static_cast<size_t>(r)];
    row_layers += report.row_layers;
    slice_time += report.slice_time;
    prefill_rows += report.prefill_rows;
    encode_rows += report.encode_rows;
    if (report.route.scored_chunks > 0) {
      observer_->ShardScored(r, report.route.scored_chunks, report.route.score_time);
    }
    if (report.route.rescored_documents + report.route.first_pass_fallbacks > 0) {
      observer_->FirstPassDone(report.route.rescored_documents, report.route.first_pass_fallbacks);
    }
    if (report.route.fetched_bytes > 0) {
      observer_->ContentFetched(report.route.fetched_bytes, report.route.fetch_time);
    }
  }
  // Ranks run side by side: the wall time of their slices is about the mean of theirs.
  planner_.Learn(row_layers, slice_time / team_->size());
  if (!plan.decode.empty()) planner_.LearnDecode(reports[0].decode_time);
  observer_->StepDone(static_cast<int64_t>(plan.decode.size()), prefill_rows, encode_rows, elapsed);
  encoder_.FinishJobs();
  for (const std::shared_ptr<Query>& query : queries_) {
    const bool stepped =
        query->state == Query::State::kPrefill ||
        std::find(plan.decode.begin(), plan.decode.end(), query.get()) != plan.decode.end();
    if (stepped) runner_.AfterStep(query);
  }
}

void Scheduler::FailEverything(const absl::Status& status) {
  // Assemblies in flight come back first: until then the query is theirs.
  while (true) {
    for (const std::shared_ptr<Query>& query : runner_.TakeAssembled())
      query->state = Query::State::kWaiting;
    bool assembling = false;
    for (const std::shared_ptr<Query>& query : queries_) {
      if (query->state == Query::State::kAssembling)
        assembling = true;
      else if (query->state != Query::State::kFinished)
        runner_.Fail(query, status);
    }
    if (!assembling) break;
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return woken_; });
    woken_ = false;
  }
  std::deque<std::shared_ptr<Query>> submitted;
  {
    std::unique_lock lock(mutex_);
    // In their order, and before a later one may run in its caller.
    while (!changes_.empty()) {
      std::deque<absl::AnyInvocable<void()>> changes = std::exchange(changes_, {});
      lock.unlock();
      for (absl::AnyInvocable<void()>& change : changes) change();
      lock.lock();
    }
    if (stop_) stopped_ = true;
    submitted = std::exchange(submitted_, {});
    encoder_.Push(std::exchange(encode_inbox_, {}));
    queued_requests_ = 0;
    queued_tokens_ = 0;
    num_queries_ = 0;
    idle_.notify_all();
  }
  for (const std::shared_ptr<Query>& query : submitted) runner_.Fail(query, status);
  queries_.clear();
  encoder_.CancelAll();
}

}  // namespace msa::engine
