#include "engine/scheduling/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/core/error_detail.h"
#include "tests/engine/scheduling/scheduler_fixture.h"

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr char kCite[] = "[7]<|object_ref_end|>";
constexpr char kCiteAndAnswer[] = "[7]<|object_ref_end|><End-of-Retrieve>green<|im_end|>";

std::string PhaseOf(const absl::Status& deadline_exceeded) {
  return kernels::DetailOf(deadline_exceeded).metadata["phase"];
}

TEST_F(SchedulerTest, ADeadlineThatPassesInTheQueueEndsTheQueryThere) {
  Open({.max_running = 1});
  const auto running = AskForEver("running");
  running->WaitForText();
  const auto late = Ask("late", {.deadline = clock_.Now() + absl::Seconds(10)});
  {
    Hold hold(scheduler_.get());
    clock_.Advance(absl::Seconds(10));
  }
  const absl::Status status = late->Wait();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(PhaseOf(status), "queued");
  EXPECT_EQ(late->num_events(), 0u);
  PassTurn();
  EXPECT_EQ(scheduler_->num_waiting(), 0);
  EXPECT_EQ(scheduler_->num_running(), 1);
  EXPECT_FALSE(running->has_ended());
}

TEST_F(SchedulerTest, ADeadlineThatPassesWhileRunningGivesThePagesToTheNext) {
  Open({}, /*num_ranks=*/1, /*num_pages=*/PagesFor(30000));
  const auto late = AskForEver("late", clock_.Now() + absl::Seconds(10));
  late->WaitForText();
  const auto next = Ask("next", {.new_rows = 30000});
  int64_t tokens = 0;
  {
    Hold hold(scheduler_.get());
    clock_.Advance(absl::Seconds(10));
    tokens = log_.num_tokens("late");
  }
  const absl::Status status = late->Wait();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(PhaseOf(status), "running");
  EXPECT_TRUE(next->Wait().ok());
  EXPECT_EQ(log_.num_tokens("late"), tokens);
  EXPECT_EQ(ReservedPages(), 0);
}

TEST_F(SchedulerTest, ADeadlineThatPassesInAnAssemblyEndsTheQueryAfterIt) {
  Open();
  Gate reading, go_on;
  bank_->HoldReads(&reading, &go_on);
  const auto late =
      Ask("late", {.script = kCiteAndAnswer, .deadline = clock_.Now() + absl::Seconds(10)});
  reading.Wait();
  EXPECT_EQ(ReservedPages(), 0) << "who waits for a text holds no pages";
  clock_.Advance(absl::Seconds(10));
  PassTurn();
  EXPECT_FALSE(late->has_ended());
  go_on.Open();
  const absl::Status status = late->Wait();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(PhaseOf(status), "running");
}

TEST_F(SchedulerTest, ASmallQueryDoesNotOvertakeABigOneThatWaitsForPages) {
  const int64_t small = 64, big = 512;
  Open({}, /*num_ranks=*/1, /*num_pages=*/PagesFor(big));
  const auto held = AskAndHold("held", small);
  EXPECT_EQ(ReservedPages(), PagesFor(small));
  std::vector<std::unique_ptr<TestQuery>> others;
  others.push_back(Ask("big", {.new_rows = big}));
  others.push_back(Ask("second", {.new_rows = small}));
  others.push_back(Ask("third", {.new_rows = small}));
  PassTurn();
  EXPECT_EQ(ReservedPages(), PagesFor(small)) << "the small ones would fit";
  EXPECT_EQ(scheduler_->num_waiting(), 3);
  scheduler_->Cancel(held->query().get());
  for (const auto& query : others) EXPECT_TRUE(query->Wait().ok());
  EXPECT_THAT(log_.FirstNames(3), ElementsAre("held", "big", "second"));
}

class ActivationsTest : public SchedulerTest {
 protected:
  // How many of three queries' prompts are in work at a time; a slice is so short that each takes
  // many steps.
  int MostPromptsInWork(int64_t activation_bytes) {
    SchedulerOptions options;
    options.activation_bytes = activation_bytes;
    options.slice_time = absl::Nanoseconds(1);
    Open(options);
    std::vector<std::unique_ptr<TestQuery>> queries;
    int most = 0;
    std::atomic<bool> looks{true};
    const std::function<void()> look = [&] {  // at every boundary
      int in_work = 0;
      for (const auto& query : queries) in_work += query->query()->job.routes ? 1 : 0;
      most = std::max(most, in_work);
      if (looks.load()) scheduler_->AtStepBoundary([&] { look(); });
    };
    {
      const Hold hold(scheduler_.get());
      for (const char* const name : {"first", "second", "third"}) queries.push_back(Ask(name, {}));
      scheduler_->AtStepBoundary([&] { look(); });
    }
    for (const auto& query : queries) EXPECT_TRUE(query->Wait().ok());
    looks.store(false);
    scheduler_->Stop();
    return most;
  }
};

TEST_F(ActivationsTest, PromptsShareTheBudget) { EXPECT_EQ(MostPromptsInWork(1 << 30), 3); }

TEST_F(ActivationsTest, APromptBeyondTheBudgetIsWorkedOnAlone) {
  EXPECT_EQ(MostPromptsInWork(1), 1);
}

TEST_F(SchedulerTest, ALaterRoundComesBeforeNewQueries) {
  Open({}, /*num_ranks=*/1, /*num_pages=*/PagesFor(512));
  Gate reading, go_on;
  bank_->HoldReads(&reading, &go_on);
  const auto cites = Ask("cites", {.script = kCiteAndAnswer, .new_rows = 384});
  reading.Wait();
  const auto held = AskAndHold("held", 192);
  go_on.Open();
  WaitForState(*cites, Query::State::kWaiting);
  const auto next = Ask("next", {.new_rows = 64});
  PassTurn();
  EXPECT_EQ(ReservedPages(), PagesFor(192)) << "the next one would fit";
  scheduler_->Cancel(held->query().get());
  EXPECT_TRUE(cites->Wait().ok());
  EXPECT_TRUE(next->Wait().ok());
  EXPECT_THAT(log_.FirstNames(3), ElementsAre("cites", "held", "cites"));
}

TEST_F(SchedulerTest, FewPagesServeEveryoneInTheEnd) {
  Open({}, /*num_ranks=*/2, /*num_pages=*/PagesFor(512));
  std::vector<std::unique_ptr<TestQuery>> queries;
  for (int i = 0; i < 40; ++i) {
    queries.push_back(Ask("query", {.script = i % 3 == 0 ? kCiteAndAnswer : kAnswer,
                                    .new_rows = i % 4 == 1 ? 384 : 64}));
  }
  for (const auto& query : queries) {
    const absl::Status status = query->Wait();
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(ReservedPages(), 0);
  PassTurn();
  EXPECT_EQ(scheduler_->num_running(), 0);
  EXPECT_EQ(scheduler_->num_waiting(), 0);
}

TEST_F(SchedulerTest, AQueryMayTakeAllPagesButNotMore) {
  Open({}, /*num_ranks=*/2, /*num_pages=*/PagesFor(512));
  EXPECT_TRUE(Ask("large", {.new_rows = 512})->Wait().ok());
  const absl::Status refused = Ask("too large", {.new_rows = 576})->Wait();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_EQ(kernels::DetailOf(refused).metadata["limit"], std::to_string(PagesFor(512)));
}

TEST_F(SchedulerTest, AQueueFullOfRequestsRefusesWithNumbers) {
  Open({.max_queued_requests = 2});
  std::vector<std::unique_ptr<TestQuery>> taken;
  {
    Hold hold(scheduler_.get());
    for (const char* name : {"first", "second"}) taken.push_back(Ask(name, {}));
    EXPECT_EQ(scheduler_->num_waiting(), 2);
    const absl::Status refusal = scheduler_->Submit(Make("third", {})->query());
    EXPECT_EQ(refusal.code(), absl::StatusCode::kResourceExhausted) << refusal;
    const kernels::ErrorDetail detail = kernels::DetailOf(refusal);
    EXPECT_EQ(detail.reason, "QUEUE_FULL");
    EXPECT_THAT(detail.metadata, UnorderedElementsAre(Pair("limit", "2"), Pair("actual", "2"),
                                                      Pair("unit", "requests")));
    EXPECT_TRUE(detail.retry_after.has_value());
  }
  for (const auto& query : taken) EXPECT_TRUE(query->Wait().ok());
  EXPECT_TRUE(Ask("third", {})->Wait().ok());
}

TEST_F(SchedulerTest, AQueueFullOfTokensRefusesWithNumbers) {
  const int64_t tokens = PromptTokens();
  Open({.max_queued_tokens = 3 * tokens - 1});
  std::vector<std::unique_ptr<TestQuery>> taken;
  {
    Hold hold(scheduler_.get());
    for (const char* name : {"first", "second"}) taken.push_back(Ask(name, {}));
    const absl::Status refusal = scheduler_->Submit(Make("third", {})->query());
    EXPECT_EQ(refusal.code(), absl::StatusCode::kResourceExhausted) << refusal;
    const kernels::ErrorDetail detail = kernels::DetailOf(refusal);
    EXPECT_EQ(detail.reason, "QUEUE_FULL");
    EXPECT_THAT(detail.metadata, UnorderedElementsAre(Pair("limit", std::to_string(3 * tokens - 1)),
                                                      Pair("actual", std::to_string(3 * tokens)),
                                                      Pair("unit", "tokens")));
    EXPECT_TRUE(detail.retry_after.has_value());
  }
  for (const auto& query : taken) EXPECT_TRUE(query->Wait().ok());
  EXPECT_TRUE(Ask("third", {})->Wait().ok());
}

TEST_F(SchedulerTest, CancelEndsAQueryThatWaits) {
  Open({.max_running = 1});
  const auto running = AskForEver("running");
  running->WaitForText();
  const auto waits = Ask("waits", {});
  scheduler_->Cancel(waits->query().get());
  EXPECT_EQ(waits->Wait().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(waits->num_events(), 0u);
  PassTurn();
  EXPECT_EQ(scheduler_->num_waiting(), 0);
  EXPECT_FALSE(running->has_ended());
}

TEST_F(SchedulerTest, CancelEndsAQueryThatRunsBeforeItsNextToken) {
  Open();
  const auto running = AskForEver("running");
  running->WaitForText();
  int64_t tokens = 0;
  {
    Hold hold(scheduler_.get());
    scheduler_->Cancel(running->query().get());
    tokens = log_.num_tokens("running");
  }
  EXPECT_EQ(running->Wait().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(log_.num_tokens("running"), tokens);
  EXPECT_EQ(ReservedPages(), 0);
}

TEST_F(SchedulerTest, ARetrievalIsToldItsEndOnce) {
  Open({.max_running = 1});
  const auto running = AskForEver("running");
  running->WaitForText();
  Gate answered, cancelled;
  std::vector<absl::Status> ends;
  std::vector<std::unique_ptr<TestQuery>> retrievals;
  for (Gate* const ended : {&cancelled, &answered}) {
    retrievals.push_back(Make("retrieval", {}));
    Query& query = *retrievals.back()->query();
    query.events = nullptr;
    query.finish_retrieve = [&ends, ended](Query& finished) {
      ends.push_back(finished.status);  // on one thread, and read after the last
      ended->Open();
    };
    EXPECT_TRUE(scheduler_->Submit(retrievals.back()->query()).ok());
  }
  scheduler_->Cancel(retrievals[0]->query().get());
  cancelled.Wait();
  running->Finish();
  answered.Wait();
  scheduler_->Cancel(retrievals[1]->query().get());
  scheduler_->Stop();
  EXPECT_THAT(ends, ElementsAre(absl::CancelledError("the client cancelled the request"),
                                absl::OkStatus()));
}

TEST_F(SchedulerTest, AQueryThatFailsLeavesTheOthersAlone) {
  Open();
  std::unique_ptr<TestQuery> fails, answers;
  {
    Hold hold(scheduler_.get());
    fails = Ask("fails", {.script = "a"});  // and has no token then
    answers = Ask("answers", {});
  }
  EXPECT_EQ(fails->Wait().code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(answers->Wait().ok());
  EXPECT_TRUE(scheduler_->healthy());
  EXPECT_EQ(ReservedPages(), 0);
}

TEST_F(SchedulerTest, AStreamThatNobodyReadsEndsAfterTheTimeout) {
  Open({.stalled_reader_timeout = absl::Seconds(30)});
  const auto stalled = AskAndHold("stalled", 64);
  // Others go on beside it.
  EXPECT_TRUE(Ask("reads", {})->Wait().ok());
  clock_.Advance(absl::Seconds(30) - absl::Milliseconds(1));
  PassTurn();
  EXPECT_EQ(ReservedPages(), PagesFor(64));
  clock_.Advance(absl::Milliseconds(1));
  PassTurn();
  EXPECT_EQ(ReservedPages(), 0);
  const absl::Status status = stalled->Wait();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("30s"));
  EXPECT_EQ(scheduler_->num_running(), 0);
}

TEST_F(SchedulerTest, DrainWithoutGraceEndsWhatRunsAndWaits) {
  Open({.max_running = 1});
  const auto running = AskForEver("running");
  running->WaitForText();
  const auto waits = Ask("waits", {});
  scheduler_->Drain(absl::ZeroDuration());
  for (const auto* query : {&running, &waits}) {
    const absl::Status status = (*query)->Wait();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_TRUE(kernels::DetailOf(status).retry_after.has_value());
  }
  EXPECT_EQ(ReservedPages(), 0);
  EXPECT_EQ(scheduler_->num_running(), 0);
  EXPECT_EQ(scheduler_->num_waiting(), 0);
}

TEST_F(SchedulerTest, DrainLetsWhatItHasTakenFinishWithinTheGrace) {
  Open({.max_running = 1});
  const auto running = AskForEver("running");
  running->WaitForText();
  const auto waits = Ask("waits", {.script = kCiteAndAnswer});
  std::thread drain([&] { scheduler_->Drain(absl::Hours(1)); });
  const absl::Status refusal = WaitUntilItRefuses();
  EXPECT_EQ(kernels::DetailOf(refusal).reason, "UNAVAILABLE");
  EXPECT_TRUE(kernels::DetailOf(refusal).retry_after.has_value());
  EXPECT_FALSE(running->has_ended());
  running->Finish();
  drain.join();
  EXPECT_EQ(scheduler_->num_running() + scheduler_->num_waiting(), 0);
  EXPECT_TRUE(running->Wait().ok());
  EXPECT_TRUE(waits->Wait().ok());
}

TEST_F(SchedulerTest, DrainWithAnEndlessGraceWaits) {
  Open();
  const auto running = AskForEver("running");
  running->WaitForText();
  std::thread drain([&] { scheduler_->Drain(absl::InfiniteDuration()); });
  EXPECT_TRUE(absl::IsUnavailable(WaitUntilItRefuses()));
  for (int turn = 0; turn < 10; ++turn) PassTurn();
  EXPECT_FALSE(running->has_ended());
  running->Finish();
  drain.join();
  EXPECT_TRUE(running->Wait().ok());
}

TEST_F(SchedulerTest, DrainEndsAQueryInItsAssembly) {
  Open();
  Gate reading, go_on;
  bank_->HoldReads(&reading, &go_on);
  const auto assembling = Ask("assembling", {.script = kCite, .goes_on = true, .new_rows = 30000});
  reading.Wait();
  std::thread drain([&] { scheduler_->Drain(absl::ZeroDuration()); });
  EXPECT_TRUE(absl::IsUnavailable(WaitUntilItRefuses()));
  go_on.Open();
  drain.join();
  const absl::Status status = assembling->Wait();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_EQ(ReservedPages(), 0);
}

TEST_F(SchedulerTest, StopWaitsForAnAssemblyAndEndsItsQuery) {
  Open();
  Gate reading, go_on;
  bank_->HoldReads(&reading, &go_on);
  const auto assembling = Ask("assembling", {.script = kCiteAndAnswer});
  reading.Wait();
  std::thread stop([&] { scheduler_->Stop(); });
  EXPECT_TRUE(absl::IsUnavailable(WaitUntilItRefuses()));
  EXPECT_FALSE(assembling->has_ended());
  go_on.Open();
  stop.join();
  const absl::Status status = assembling->Wait();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
}

TEST_F(SchedulerTest, StopEndsEverythingThatRunsAndWaits) {
  Open({.max_running = 1});
  const auto running = AskForEver("running");
  running->WaitForText();
  const auto waits = Ask("waits", {});
  absl::Status encoded;
  std::thread stop;
  {
    Hold hold(scheduler_.get());
    scheduler_->Encode({1, 2, 3}, [&](auto document) { encoded = document.status(); });
    stop = std::thread([&] { scheduler_->Stop(); });
    EXPECT_TRUE(absl::IsUnavailable(WaitUntilItRefuses()));
  }
  stop.join();
  EXPECT_EQ(running->Wait().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(waits->Wait().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(encoded.code(), absl::StatusCode::kCancelled) << encoded;
}

TEST_F(SchedulerTest, AfterStopNothingIsTakenAndChangesRunInTheirCaller) {
  Open();
  scheduler_->Stop();
  absl::Status encoded;
  scheduler_->Encode({1, 2, 3}, [&](auto document) { encoded = document.status(); });
  EXPECT_EQ(encoded.code(), absl::StatusCode::kCancelled) << encoded;
  std::thread::id ran_on;
  scheduler_->AtStepBoundary([&] { ran_on = std::this_thread::get_id(); });
  EXPECT_EQ(ran_on, std::this_thread::get_id());
  const absl::Status refusal = scheduler_->Submit(Make("late", {})->query());
  EXPECT_EQ(refusal.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(kernels::DetailOf(refusal).retry_after.has_value());
  EXPECT_THAT(log_.FirstNames(1), IsEmpty());
}

// Documents and a retrieval beside a query on every rank; the last rank's cannot be run.
class FailedRankTest : public SchedulerTest, public testing::WithParamInterface<int> {
 protected:
  void FailTheLastRank() {
    // A step of all that there is, so that the other ranks wait in an exchange.
    Open({.slice_time = absl::Hours(1)}, num_ranks());
    Hold hold(scheduler_.get());
    for (int r = 0; r + 1 < num_ranks(); ++r) {
      queries_.push_back(Ask("good", {}));
    }
    queries_.push_back(Make("bad", {}));
    const std::shared_ptr<Query>& bad = queries_.back()->query();
    bad->prompt.token_ids[0] = static_cast<int32_t>(config_.vocab_size);
    EXPECT_TRUE(scheduler_->Submit(bad).ok());
    scheduler_->Encode(std::vector<int32_t>(100, 1), [this](auto document) {
      encoded_ = document.status();
      encode_done_.Open();
    });
  }
  static int num_ranks() { return GetParam(); }

  std::vector<std::unique_ptr<TestQuery>> queries_;
  absl::Status encoded_;
  Gate encode_done_;
};

INSTANTIATE_TEST_SUITE_P(Ranks, FailedRankTest, testing::Values(1, 2, 3),
                         testing::PrintToStringParamName());

TEST_P(FailedRankTest, EndsEverythingAndTakesNothingMore) {
  FailTheLastRank();
  for (const auto& query : queries_) {
    const absl::Status status = query->Wait();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("token id 2048"));
  }
  encode_done_.Wait();
  EXPECT_EQ(encoded_.code(), absl::StatusCode::kCancelled) << encoded_;
  EXPECT_FALSE(scheduler_->healthy());
  EXPECT_EQ(ReservedPages(), 0) << "changes still run";
  const absl::Status refusal = scheduler_->Submit(Make("late", {})->query());
  EXPECT_EQ(refusal.code(), absl::StatusCode::kUnavailable) << refusal;
  absl::Status late;
  scheduler_->Encode({1}, [&](auto document) { late = document.status(); });
  EXPECT_EQ(late.code(), absl::StatusCode::kCancelled) << late;
  scheduler_->Drain(absl::Hours(1));  // nothing to wait for
}

TEST_P(FailedRankTest, IsNamedByNumber) {
  FailTheLastRank();
  const std::string expected = "shard " + std::to_string(num_ranks() - 1) + " failed";
  for (const auto& query : queries_) {
    EXPECT_THAT(std::string(query->Wait().message()), HasSubstr(expected));
  }
}

}  // namespace
}  // namespace msa::engine
