// Rows that a query keeps of a round's prompt for the next one: fewer are computed, and nothing
// else changes.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/engine_fixture.h"

namespace msa::engine {
namespace {

class PrefillRows : public EngineObserver {
 public:
  void StepDone(int64_t, int64_t prefill_rows, int64_t, absl::Duration) override {
    rows_ += prefill_rows;
  }
  int64_t Take() { return rows_.exchange(0); }

 private:
  std::atomic<int64_t> rows_ = 0;
};

class KeptRowsTest : public testing::TestWithParam<int> {
 protected:
  void Open(int64_t activation_bytes) {
    engine_.reset();
    EngineOptions options = NeedleOptions(directory_.path(), GetParam());
    options.activation_bytes = activation_bytes;
    auto opened = Engine::Open(options, &rows_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    engine_ = *std::move(opened);
    if (engine_->banks().List().empty()) {
      IngestAll((*engine_->banks().Create("b", {})).get(),
                SampleDocumentsFor(questions_, Sized(120, 60)));
    }
    ASSERT_TRUE(engine_->banks().Get("b").ok());
  }

  const std::vector<SampleQuestion> questions_ = SampleQuestions();
  const TemporaryDirectory directory_;
  PrefillRows rows_;
  std::unique_ptr<Engine> engine_;
};

TEST_P(KeptRowsTest, AnswersAreTheSameAndFewerRowsAreComputed) {
  // One byte: prompts are worked on one at a time, and nothing is kept.
  std::vector<std::string> fingerprints[2];
  std::vector<int64_t> num_rows[2];
  for (const int kept : {0, 1}) {
    Open(kept == 0 ? 1 : int64_t{64} << 20);
    for (const SampleQuestion& sample : questions_) {
      rows_.Take();
      const Outcome outcome = Ask(engine_.get(), Request("b", sample.question));
      ASSERT_TRUE(outcome.status.ok()) << outcome.status;
      EXPECT_GE(outcome.rounds.size(), 2u) << sample.question;
      fingerprints[kept].push_back(outcome.Fingerprint());
      num_rows[kept].push_back(rows_.Take());
      if (fingerprints[kept].size() == Sized(size_t{8}, size_t{3})) break;
    }
  }
  EXPECT_EQ(fingerprints[0], fingerprints[1]);
  for (size_t i = 0; i < num_rows[0].size(); ++i) {
    // Of needle's five layers two lie below the first MSA layer, and a later prompt repeats most
    // of the one before.
    EXPECT_LT(num_rows[1][i], num_rows[0][i] * 95 / 100);
    EXPECT_GT(num_rows[1][i], num_rows[0][i] * 50 / 100);
  }
}

// Where memory is short some queries lose what they kept in the middle of their rounds.
TEST_P(KeptRowsTest, WhatIsDroppedIsComputedAgain) {
  Open(int64_t{64} << 20);
  std::vector<std::string> alone;
  for (const SampleQuestion& sample : questions_) {
    alone.push_back(Ask(engine_.get(), Request("b", sample.question)).Fingerprint());
    if (alone.size() == Sized(size_t{12}, size_t{4})) break;
  }
  for (const int64_t budget : {int64_t{100} << 10, int64_t{300} << 10, int64_t{1} << 20}) {
    Open(budget);
    std::vector<std::unique_ptr<AsyncQuestion>> running;
    for (size_t i = 0; i < alone.size(); ++i) {
      running.push_back(
          std::make_unique<AsyncQuestion>(engine_.get(), Request("b", questions_[i].question)));
    }
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(running[i]->Wait().Fingerprint(), alone[i]) << budget << " bytes";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, KeptRowsTest, testing::Values(1, 2));

}  // namespace
}  // namespace msa::engine
