// Banks that are alike but for the way their router keys are scanned must answer alike.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/engine_fixture.h"

namespace msa::engine {
namespace {

class FirstPasses : public EngineObserver {
 public:
  void FirstPassDone(int64_t rescored_documents, int64_t fallbacks) override {
    rescored_ += rescored_documents;
    fallbacks_ += fallbacks;
  }
  int64_t rescored() const { return rescored_; }

 private:
  std::atomic<int64_t> rescored_ = 0, fallbacks_ = 0;
};

class RouterKeyScanTest : public testing::TestWithParam<int> {};

TEST_P(RouterKeyScanTest, Int8FirstFindsAndAnswersAsExactDoes) {
  const TemporaryDirectory directory;
  FirstPasses passes;
  auto opened = Engine::Open(NeedleOptions(directory.path(), GetParam()), &passes);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::unique_ptr<Engine> engine = *std::move(opened);
  // More than eight times as many on each shard as are selected, or there is no first pass.
  const std::vector<DocumentInput> samples =
      SampleDocuments(static_cast<size_t>(GetParam()) * Sized(400, 200));
  for (const auto& [name, scan] :
       {std::pair{"exact", RouterKeyScan::kExact}, {"int8", RouterKeyScan::kInt8}}) {
    BankSettings settings;
    settings.router_key_scan = scan;
    const auto bank = engine->banks().Create(name, settings);
    ASSERT_TRUE(bank.ok()) << bank.status();
    IngestAll(bank->get(), samples);
  }
  const std::vector<SampleQuestion> questions = SampleQuestions();
  for (const SampleQuestion& sample : questions) {
    const int64_t rescored_before = passes.rescored();
    RetrieveResult results[2];
    for (const int i : {0, 1}) {
      RetrieveRequest request;
      request.bank = i == 0 ? "exact" : "int8";
      request.question = sample.question;
      request.explain_layers = true;
      auto result = RetrieveAndWait(engine.get(), request);
      ASSERT_TRUE(result.ok()) << result.status();
      results[i] = *std::move(result);
      EXPECT_EQ(passes.rescored() > rescored_before, i == 1);
    }
    ASSERT_EQ(results[0].layers.size(), results[1].layers.size());
    for (size_t layer = 0; layer < results[0].layers.size(); ++layer) {
      EXPECT_EQ(results[0].layers[layer].numbers, results[1].layers[layer].numbers);
      EXPECT_EQ(results[0].layers[layer].scores, results[1].layers[layer].scores);
    }
  }
  const std::string question = questions[0].question;
  EXPECT_EQ(Ask(engine.get(), Request("exact", question)).Fingerprint(),
            Ask(engine.get(), Request("int8", question)).Fingerprint());
}

INSTANTIATE_TEST_SUITE_P(Shards, RouterKeyScanTest, testing::Values(1, 3));

}  // namespace
}  // namespace msa::engine
