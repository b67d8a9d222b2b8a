#include "tests/engine/scheduling/scheduler_fixture.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/parallel/local_communicator.h"
#include "tests/engine/generation/tiny_model.h"

namespace msa::engine {
namespace {

constexpr char kCheckpoint[] = MSA_TEST_DATA "/tiny-a/checkpoint";
constexpr char kQuestion[] = "Which colour does the river have?";
constexpr int64_t kLayers = 4;
constexpr int64_t kRowsPerPage = 64;

class FixedPin : public BankPin {
 public:
  uint64_t revision() const override { return 1; }
};

// The script's tokens, and then "a" if it goes on; every one is logged.
class LoggedTokens : public TokenSource {
 public:
  LoggedTokens(std::string name, const TestQuery::Options& options, WritingLog* log,
               std::shared_ptr<const std::atomic<bool>> finish)
      : name_(std::move(name)),
        script_(GetTinyModel().tokenizer->EncodeTemplate(options.script)),
        going_on_(GetTinyModel().tokenizer->EncodeTemplate("a")[0]),
        goes_on_(options.goes_on),
        log_(log),
        finish_(std::move(finish)) {}

  absl::StatusOr<int32_t> Choose(const kernels::OpContext&, absl::Span<const float>,
                                 absl::Span<const int32_t>) override {
    log_->Add(name_);
    if (next_ < script_.size()) return script_[next_++];
    if (goes_on_) return finish_->load() ? kImEnd : going_on_;
    return absl::OutOfRangeError("the script has no more tokens");
  }

 private:
  const std::string name_;
  const std::vector<int32_t> script_;
  const int32_t going_on_;
  const bool goes_on_;
  WritingLog* const log_;
  const std::shared_ptr<const std::atomic<bool>> finish_;
  size_t next_ = 0;
};

}  // namespace

absl::Time ManualClock::Now() {
  std::lock_guard lock(mutex_);
  return absl::UnixEpoch() + passed_;
}

absl::Duration ManualClock::Monotonic() {
  std::lock_guard lock(mutex_);
  return passed_;
}

void ManualClock::Advance(absl::Duration by) {
  std::lock_guard lock(mutex_);
  passed_ += by;
}

CitableBank::CitableBank(const MemoryGeometry& geometry, int num_shards) {
  for (int s = 0; s < num_shards; ++s) shards_.push_back(std::make_unique<Shard>(geometry));
}

void CitableBank::HoldReads(Gate* reached, Gate* until) {
  until_ = until;
  reached_ = reached;
}

absl::StatusOr<std::vector<DocumentInfo>> CitableBank::Read(absl::Span<const uint32_t> numbers,
                                                            const BankPin& /*pin*/,
                                                            bool with_text) const {
  if (Gate* const reached = reached_; with_text && reached != nullptr) {
    reached->Open();
    until_.load()->Wait();
  }
  std::vector<DocumentInfo> found;
  for (const uint32_t number : numbers) {
    DocumentInfo& info = found.emplace_back();
    info.number = number;
    info.id = absl::StrCat("d", number);
    if (with_text) info.text = "The colour of the river is green.";
  }
  return found;
}

std::unique_ptr<BankPin> CitableBank::Pin() { return std::make_unique<FixedPin>(); }

void WritingLog::Add(const std::string& name) {
  std::lock_guard lock(mutex_);
  ++num_tokens_[name];
  if (names_.empty() || names_.back() != name) names_.push_back(name);
}

std::vector<std::string> WritingLog::FirstNames(size_t most) const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> first = names_;
  first.resize(std::min(first.size(), most));
  return first;
}

int64_t WritingLog::num_tokens(const std::string& name) const {
  std::lock_guard lock(mutex_);
  const auto found = num_tokens_.find(name);
  return found == num_tokens_.end() ? 0 : found->second;
}

TestQuery::TestQuery(std::string name, Options options, std::shared_ptr<Bank> bank, WritingLog* log,
                     Clock* clock)
    : query_(std::make_shared<Query>()),
      events_(std::make_shared<EventQueue>(options.reads ? int64_t{1} << 30 : 1,
                                           [this] { OnReady(); })),
      reads_(options.reads) {
  GenerationParams params = FreeCitations();
  params.max_retrieval_tokens = static_cast<int32_t>(options.new_rows);
  query_->bank = std::move(bank);
  query_->pin = query_->bank->Pin();
  query_->deadline = options.deadline;
  query_->arrival = clock->Monotonic();
  query_->events = events_;
  query_->interleave = MakeInterleave(params, kQuestion);
  query_->prompt = query_->interleave->FirstRound();
  query_->max_new_rows = options.new_rows;
  query_->token_source = std::make_unique<LoggedTokens>(std::move(name), options, log, finish_);
}

TestQuery::~TestQuery() { events_->Detach(); }

void TestQuery::OnReady() {
  std::lock_guard lock(mutex_);
  if (reads_) ReadAll();
  changed_.notify_all();
}

void TestQuery::ReadAll() {
  while (!ended_) {
    QueryEvent event;
    const EventQueue::ReadState state = events_->TryRead(&event);
    if (state == EventQueue::ReadState::kPending) return;
    ended_ = state == EventQueue::ReadState::kEnd;
    if (!ended_) read_.push_back(std::move(event));
  }
}

void TestQuery::WaitForText() {
  const auto has_text = [this] {
    return ended_ || (!read_.empty() && std::holds_alternative<TokenEvent>(read_.back()));
  };
  std::unique_lock lock(mutex_);
  changed_.wait(lock, has_text);
}

absl::Status TestQuery::Wait() {
  std::unique_lock lock(mutex_);
  // Who has not read so far reads what is left once it is over.
  changed_.wait(lock, [this] { return ended_ || !events_->status().ok(); });
  ReadAll();
  return events_->status();
}

bool TestQuery::has_ended() const {
  std::lock_guard lock(mutex_);
  return ended_;
}

size_t TestQuery::num_events() const {
  std::lock_guard lock(mutex_);
  return read_.size();
}

void SchedulerTest::Open(const SchedulerOptions& options, int num_ranks, int64_t num_pages) {
  auto config = LoadModelConfig(kCheckpoint);
  ASSERT_TRUE(config.ok()) << config.status();
  config_ = *config;
  ASSERT_EQ(config_.num_layers, kLayers);
  auto weights = Weights::Load(kCheckpoint, config_, kernels::ComputeDType::kF32);
  ASSERT_TRUE(weights.ok()) << weights.status();
  weights_ = *std::move(weights);
  threads_ = std::make_unique<kernels::ThreadPool>(1);
  const kernels::OpContext context{kernels::DeviceKind::kCpu, threads_.get()};
  Transformer transformer(&config_, weights_.get(), context, kernels::ComputeDType::kF32);
  auto prefix = ComputeTemplatePrefix(&transformer, GetTinyModel().prompt_template->head_ids(),
                                      kernels::DType::kF32);
  ASSERT_TRUE(prefix.ok()) << prefix.status();
  prefix_ = *std::move(prefix);
  const MemoryGeometry geometry{.num_msa_layers = static_cast<int64_t>(config_.msa_layers.size()),
                                .kv_width = config_.kv_width(),
                                .tokens_per_chunk = config_.tokens_per_chunk,
                                .dtype = kernels::DType::kF32,
                                .model_fingerprint = weights_->fingerprint,
                                .instruction_set = "any"};
  bank_ = std::make_shared<CitableBank>(geometry, num_ranks);
  auto pages = std::make_unique<KvPagePool>(prefix_.shape, num_pages);
  std::vector<std::unique_ptr<Rank>> ranks;
  for (std::unique_ptr<Communicator>& communicator : MakeLocalCommunicators(num_ranks)) {
    ranks.push_back(std::make_unique<Rank>(
        &config_, weights_.get(), &prefix_, context, kernels::ComputeDType::kF32,
        kernels::DType::kF32, pages.get(), std::move(communicator), /*probe=*/nullptr));
  }
  team_ = std::make_unique<RankTeam>(std::move(pages), std::move(ranks));
  scheduler_ = std::make_unique<Scheduler>(&config_, geometry, prefix_.num_rows, team_.get(),
                                           options, &clock_, &observer_);
}

void SchedulerTest::TearDown() {
  if (scheduler_ != nullptr) scheduler_->Stop();
}

std::unique_ptr<TestQuery> SchedulerTest::Make(const std::string& name,
                                               TestQuery::Options options) {
  return std::make_unique<TestQuery>(name, std::move(options), bank_, &log_, &clock_);
}

std::unique_ptr<TestQuery> SchedulerTest::Ask(const std::string& name, TestQuery::Options options) {
  std::unique_ptr<TestQuery> query = Make(name, std::move(options));
  const absl::Status status = scheduler_->Submit(query->query());
  EXPECT_TRUE(status.ok()) << name << ": " << status;
  return query;
}

std::unique_ptr<TestQuery> SchedulerTest::AskForEver(const std::string& name, absl::Time deadline) {
  return Ask(name, {.script = "", .goes_on = true, .new_rows = 30000, .deadline = deadline});
}

std::unique_ptr<TestQuery> SchedulerTest::AskAndHold(const std::string& name, int64_t new_rows) {
  std::unique_ptr<TestQuery> query = Ask(name, {.new_rows = new_rows, .reads = false});
  while (log_.num_tokens(name) == 0) PassTurn();
  return query;
}

absl::Status SchedulerTest::WaitUntilItRefuses() {
  while (true) {
    std::unique_ptr<TestQuery> query = Make("company", {});
    const absl::Status status = scheduler_->Submit(query->query());
    if (absl::IsUnavailable(status)) return status;
    if (status.ok()) company_.push_back(std::move(query));
    std::this_thread::yield();
  }
}

void SchedulerTest::BetweenSteps(const std::function<void()>& look) {
  Gate looked;
  scheduler_->AtStepBoundary([&] {
    look();
    looked.Open();
  });
  looked.Wait();
}

void SchedulerTest::PassTurn() {
  // Changes run at the start of a turn: before the second one runs, the first one's turn is over.
  BetweenSteps([] {});
  BetweenSteps([] {});
}

int64_t SchedulerTest::ReservedPages() {
  int64_t pages = 0;
  BetweenSteps([&] { pages = team_->pool().reserved_pages(); });
  return pages;
}

void SchedulerTest::WaitForState(const TestQuery& query, Query::State state) {
  bool reached = false;
  while (!reached) BetweenSteps([&] { reached = query.query()->state == state; });
}

int64_t SchedulerTest::PromptTokens() {
  const RoundPrompt prompt = MakeInterleave(FreeCitations(), kQuestion)->FirstRound();
  return static_cast<int64_t>(prompt.token_ids.size());
}

int64_t SchedulerTest::PagesFor(int64_t new_rows) {
  return kLayers * ((PromptTokens() + new_rows + kRowsPerPage - 1) / kRowsPerPage);
}

SchedulerTest::Hold::Hold(Scheduler* scheduler) {
  const auto reached = std::make_shared<Gate>();
  scheduler->AtStepBoundary([reached, leave = leave_] {
    reached->Open();
    leave->Wait();
  });
  reached->Wait();
}

}  // namespace msa::engine
