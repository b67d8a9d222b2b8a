#include "tests/server/fake_engine.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace msa::server {
class FakeStream : public engine::GenerateStream {
 public:
  explicit FakeStream(std::shared_ptr<FakeAnswer> answer) : answer_(std::move(answer)) {}
  ~FakeStream() override {
    Cancel();
    const std::lock_guard lock(answer_->mutex_);
    answer_->on_ready_.reset();
  }

  void Cancel() override {
    if (!answer_->cancelled_.exchange(true)) answer_->End(absl::CancelledError("cancelled"));
  }

  ReadState TryRead(engine::QueryEvent* event) override {
    const std::lock_guard lock(answer_->mutex_);
    if (!answer_->events_.empty() && !answer_->cancelled_.load()) {
      *event = std::move(answer_->events_.front());
      answer_->events_.pop_front();
      ++answer_->num_read_;
      return ReadState::kEvent;
    }
    return answer_->ended_ ? ReadState::kEnd : ReadState::kPending;
  }

  absl::Status status() const override {
    const std::lock_guard lock(answer_->mutex_);
    return answer_->status_;
  }

 private:
  std::shared_ptr<FakeAnswer> answer_;
};

void FakeAnswer::Push(engine::QueryEvent event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
  if (on_ready_ != nullptr) (*on_ready_)();
}

void FakeAnswer::End(absl::Status status) {
  const std::lock_guard lock(mutex_);
  if (!ended_) {
    ended_ = true;
    status_ = std::move(status);
  }
  changed_.notify_all();
  if (on_ready_ != nullptr) (*on_ready_)();
}

bool FakeAnswer::WaitUntilCancelled(absl::Duration timeout) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, absl::ToChronoMilliseconds(timeout),
                           [this] { return cancelled_.load(); });
}

FakeEngine::FakeEngine(const engine::EngineOptions& options, engine::EngineObserver* observer)
    : observer_(observer) {
  info_.options = options;
  info_.model.name = "fake";
  info_.model.hidden_size = 64;
  info_.model.num_layers = 4;
  info_.model.msa_layers = {2, 3};
  info_.model.doc_top_k = 2;
  info_.model_fingerprint = "fake";
  info_.num_shards = 2;
  info_.num_threads = 2;
  info_.device = "cpu";
  info_.instruction_set = "avx2";
  info_.compute_dtype = "bf16";
  info_.bank_dtype = "bf16";
  info_.max_document_tokens = 8192;
  info_.max_question_tokens = 1024;
  answer = [](const engine::GenerateRequest& request, std::shared_ptr<FakeAnswer> out) {
    for (engine::QueryEvent& event : ScriptedAnswer(request.question)) out->Push(std::move(event));
    out->End(absl::OkStatus());
  };
  retrieve = [](const engine::RetrieveRequest&) {
    engine::RetrieveResult result;
    engine::RoutedDocument hit;
    hit.number = 7;
    hit.id = "seven";
    hit.best_score = 0.75F;
    hit.shard = 1;
    hit.layers = {{2, 0.5F, 2}, {3, 0.75F, 1}};
    result.hits = {hit};
    result.layers = {{2, {9, 7}, {0.6F, 0.5F}}, {3, {7}, {0.75F}}};
    result.revision = 5;
    result.prompt_tokens = 21;
    result.timings.total = absl::Milliseconds(12);
    return result;
  };
}

std::vector<engine::QueryEvent> FakeEngine::ScriptedAnswer(const std::string& question) {
  engine::RoutedDocument routed;
  routed.number = 7;
  routed.id = "seven";
  routed.best_score = 0.5F;
  routed.layers = {{2, 0.5F, 1}};
  routed.shard = 1;
  engine::RoundEvent round;
  round.documents = {routed};
  round.layers = {{2, {7}, {0.5F}}};
  round.prompt_tokens = 20;
  engine::RoundEvent second = round;
  second.index = 1;
  engine::FinishedEvent finished;
  finished.answer = absl::StrCat("echo: ", question);
  finished.sources = {{7, "seven", 0}};
  finished.num_rounds = 2;
  finished.prompt_tokens = 45;
  finished.generated_tokens = 9;
  finished.timings.total = absl::Milliseconds(1500);
  finished.timings.time_to_first_token = absl::Milliseconds(40);
  using Phase = engine::Interleave::Phase;
  return {engine::StartedEvent{3, 20, 2, absl::Milliseconds(5)},
          round,
          engine::TokenEvent{Phase::kRetrieval, 0, "[7]"},
          engine::CitationsEvent{0, {{7, "seven"}}, {99}},
          second,
          engine::TokenEvent{Phase::kAnswer, 1, finished.answer},
          finished};
}

std::vector<engine::GenerateRequest> FakeEngine::generate_requests() const {
  const std::lock_guard lock(mutex_);
  return generate_requests_;
}

std::vector<engine::RetrieveRequest> FakeEngine::retrieve_requests() const {
  const std::lock_guard lock(mutex_);
  return retrieve_requests_;
}

engine::MemoryUsage FakeEngine::memory_usage() const {
  engine::MemoryUsage usage;
  usage.weights = 1000;
  usage.router_keys = 200;
  usage.kv_pages = 30;
  usage.kv_pages_limit = 4000;
  usage.activations = 5;
  return usage;
}

absl::Status FakeEngine::CheckAdmission(const std::string& bank) {
  if (admit == nullptr) return store_.Get(bank).status();
  const absl::Status status = admit(bank);
  if (!status.ok() && observer_ != nullptr) observer_->RequestRejected(status);
  return status;
}

absl::StatusOr<std::unique_ptr<engine::GenerateStream>> FakeEngine::Generate(
    engine::GenerateRequest request, absl::AnyInvocable<void()> on_ready) {
  absl::Status admitted = CheckAdmission(request.bank);
  if (!admitted.ok()) return admitted;
  auto state = std::make_shared<FakeAnswer>();
  state->on_ready_ = std::make_shared<absl::AnyInvocable<void()>>(std::move(on_ready));
  {
    const std::lock_guard lock(mutex_);
    generate_requests_.push_back(request);
    answers_.push_back(state);
  }
  if (observer_ != nullptr) observer_->RequestStarted(absl::Milliseconds(5));
  auto stream = std::make_unique<FakeStream>(state);
  answer(request, state);
  return stream;
}

absl::StatusOr<std::unique_ptr<engine::RequestHandle>> FakeEngine::Retrieve(
    engine::RetrieveRequest request, RetrieveDone done) {
  absl::Status admitted = CheckAdmission(request.bank);
  if (!admitted.ok()) return admitted;
  {
    const std::lock_guard lock(mutex_);
    retrieve_requests_.push_back(request);
  }
  class Handle : public engine::RequestHandle {
   public:
    explicit Handle(RetrieveDone on_cancel) : done_(std::move(on_cancel)) {}
    ~Handle() override { Handle::Cancel(); }
    void Cancel() override {
      if (done_ == nullptr) return;
      std::exchange(done_, nullptr)(absl::CancelledError("cancelled"));
    }

   private:
    RetrieveDone done_;
  };
  if (hold_retrieve_.load()) return std::make_unique<Handle>(std::move(done));
  done(retrieve(request));
  return std::make_unique<Handle>(nullptr);
}

absl::StatusOr<engine::TokenCount> FakeEngine::CountTokens(const std::string& text) const {
  engine::TokenCount count;
  count.num_tokens = static_cast<int64_t>(text.size());
  count.num_chunks = (count.num_tokens + 63) / 64;
  count.router_key_bytes = count.num_chunks * 10;
  count.content_bytes = count.num_chunks * 20;
  return count;
}

int64_t FakeEngine::num_running() const {
  const std::lock_guard lock(mutex_);
  int64_t count = 0;
  for (const auto& weak : answers_) {
    if (const auto state = weak.lock()) {
      const std::lock_guard answer_lock(state->mutex_);
      if (!state->ended_) ++count;
    }
  }
  return count;
}

void FakeEngine::Drain(absl::Duration grace) {
  drain_grace_ = grace;
  drained_.store(true);
  std::vector<std::weak_ptr<FakeAnswer>> answers;
  {
    const std::lock_guard lock(mutex_);
    answers = answers_;
  }
  const absl::Time end = absl::Now() + grace;
  for (const auto& weak : answers) {
    const auto state = weak.lock();
    if (state == nullptr) continue;
    std::unique_lock lock(state->mutex_);
    state->changed_.wait_until(lock, absl::ToChronoTime(end), [&] { return state->ended_; });
    const bool late = !state->ended_;
    lock.unlock();
    if (late) state->End(absl::UnavailableError("the server is shutting down"));
  }
}

}  // namespace msa::server
