#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/model/weights.h"
#include "engine/scheduling/scheduler.h"
#include "kernels/core/thread_pool.h"
#include "tests/engine/bank_stub.h"
#include "tests/engine/gate.h"

namespace msa::engine {

// Stands until it is moved.
class ManualClock : public Clock {
 public:
  absl::Time Now() override;
  absl::Duration Monotonic() override;
  void Advance(absl::Duration by);

 private:
  std::mutex mutex_;
  absl::Duration passed_ = absl::Hours(1);
};

// A bank that routes to nothing, but has a text for every number that is cited. Reading one can be
// held, which keeps the query that cites in its assembly.
class CitableBank : public BankStub {
 public:
  CitableBank(const MemoryGeometry& geometry, int num_shards);

  void HoldReads(Gate* reached, Gate* until);  // the next read opens one and waits for the other

  absl::StatusOr<std::vector<DocumentInfo>> Read(absl::Span<const uint32_t> numbers,
                                                 const BankPin& pin, bool with_text) const override;
  std::unique_ptr<BankPin> Pin() override;
  int num_shards() const override { return static_cast<int>(shards_.size()); }
  const Shard& shard(int rank) const override { return *shards_[static_cast<size_t>(rank)]; }

 private:
  std::vector<std::unique_ptr<Shard>> shards_;
  std::atomic<Gate*> reached_{nullptr};
  std::atomic<Gate*> until_{nullptr};
};

// What a test's queries wrote, in order: a name for every token, repetitions in a row once.
class WritingLog {
 public:
  void Add(const std::string& name);
  std::vector<std::string> FirstNames(size_t most) const;
  int64_t num_tokens(const std::string& name) const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> names_;
  std::map<std::string, int64_t> num_tokens_;
};

// What a model writes that answers at once.
inline constexpr char kAnswer[] = "<End-of-Retrieve>green<|im_end|>";

// A query as its client sees it: submitted or not, its events are read as they come, unless it is
// told to leave them unread.
class TestQuery {
 public:
  struct Options {
    std::string script = kAnswer;  // what the model writes, special tokens spelled out
    bool goes_on = false;          // then "a" until Finish, and then the token that ends it
    int64_t new_rows = 64;  // after a round's prompt: with it, what its pages are reserved for
    absl::Time deadline = absl::InfiniteFuture();
    bool reads = true;  // else the first event fills its queue
  };
  TestQuery(std::string name, Options options, std::shared_ptr<Bank> bank, WritingLog* log,
            Clock* clock);
  ~TestQuery();

  const std::shared_ptr<Query>& query() const { return query_; }
  void Finish() { finish_->store(true); }

  void WaitForText();   // it runs, or has ended
  absl::Status Wait();  // until its end
  bool has_ended() const;
  size_t num_events() const;

 private:
  void OnReady();
  void ReadAll();

  std::shared_ptr<std::atomic<bool>> finish_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<Query> query_;
  std::shared_ptr<EventQueue> events_;
  const bool reads_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<QueryEvent> read_;
  bool ended_ = false;
};

// A scheduler over ranks that run the smallest test model.
class SchedulerTest : public testing::Test {
 protected:
  void Open(const SchedulerOptions& options, int num_ranks = 1, int64_t num_pages = 4096);
  void Open() { Open(SchedulerOptions()); }
  void TearDown() override;

  std::unique_ptr<TestQuery> Make(const std::string& name, TestQuery::Options options);
  // Make and submit.
  std::unique_ptr<TestQuery> Ask(const std::string& name, TestQuery::Options options);
  // It would write for many seconds.
  std::unique_ptr<TestQuery> AskForEver(const std::string& name,
                                        absl::Time deadline = absl::InfiniteFuture());
  // It has written its first token, and holds its pages: its reader does not read, the clock stands.
  std::unique_ptr<TestQuery> AskAndHold(const std::string& name, int64_t new_rows);
  // Until the scheduler refuses with UNAVAILABLE; returns the refusal. What it takes before is kept
  // until the end of the test.
  absl::Status WaitUntilItRefuses();

  // Every turn of the scheduler that has begun is over, and one more.
  void PassTurn();
  int64_t ReservedPages();  // what sequences hold
  void WaitForState(const TestQuery& query, Query::State state);
  static int64_t PromptTokens();  // of every query's first round
  // What a query takes whose first round may have so many rows after its prompt.
  static int64_t PagesFor(int64_t new_rows);

  // Keeps the scheduler between two steps. What arrives meanwhile it takes together.
  class Hold {
   public:
    explicit Hold(Scheduler* scheduler);
    ~Hold() { leave_->Open(); }

   private:
    std::shared_ptr<Gate> leave_ = std::make_shared<Gate>();
  };

  ManualClock clock_;
  WritingLog log_;
  ModelConfig config_;

 private:
  void BetweenSteps(const std::function<void()>& look);

  EngineObserver observer_;
  std::unique_ptr<Weights> weights_;
  std::unique_ptr<kernels::ThreadPool> threads_;
  TemplatePrefix prefix_;
  std::unique_ptr<RankTeam> team_;
  std::vector<std::unique_ptr<TestQuery>> company_;

 protected:
  std::shared_ptr<CitableBank> bank_;
  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace msa::engine
