// No query sees another bank: its documents, their number or their texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/text/tokenizer.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/generation/scripted_token_source.h"

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

TEST(BankIsolation, AnEmptyBankHasNoMemoryBesideAFullOne) {
  TemporaryDirectory directory;
  const std::unique_ptr<Engine> engine = OpenOrDie(NeedleOptions(directory.path(), 2));
  IngestAll(engine->banks().Create("full", {})->get(), SampleDocuments(Sized(100, 20)));
  ASSERT_TRUE(engine->banks().Create("empty", {}).ok());
  const Outcome outcome = Ask(engine.get(), Request("empty", SampleQuestions()[0].question));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_TRUE(outcome.finished.without_memory);
  EXPECT_TRUE(outcome.finished.sources.empty());
  for (const RoundEvent& round : outcome.rounds) EXPECT_TRUE(round.documents.empty());
}

// Two banks with texts of their own and texts that both have. Numbers are the same in both, ids say
// the bank.
std::map<std::string, std::vector<DocumentInput>> TwoBanks(
    const std::vector<SampleQuestion>& questions) {
  std::map<std::string, std::vector<DocumentInput>> banks;
  size_t i = 0;
  for (const DocumentInput& document : SampleDocumentsFor(questions, Sized(150, 48))) {
    const size_t kind = i++ % 3;
    for (const std::string name : {"left", "right"}) {
      const bool belongs = kind == 0 || (kind == 1) == (name == "left");
      if (!belongs) continue;
      banks[name].push_back(document);
      banks[name].back().id = absl::StrCat(name, "/", document.id);
    }
  }
  return banks;
}

// What there is to tell of a bank: one answer and one retrieval per question.
std::vector<std::string> AskBank(Engine* engine, const std::string& name,
                                 const std::vector<SampleQuestion>& questions) {
  std::vector<std::unique_ptr<AsyncQuestion>> answers;
  std::vector<std::unique_ptr<AsyncRetrieval>> retrievals;
  for (const SampleQuestion& sample : questions) {
    answers.push_back(std::make_unique<AsyncQuestion>(engine, Request(name, sample.question)));
    RetrieveRequest retrieve = Retrieval(name, sample.question);
    retrieve.with_text = true;
    retrievals.push_back(std::make_unique<AsyncRetrieval>(engine, retrieve));
  }
  std::vector<std::string> fingerprints;
  for (const auto& answer : answers) {
    const Outcome& outcome = answer->Wait();
    EXPECT_TRUE(outcome.status.ok()) << outcome.status;
    fingerprints.push_back(outcome.Fingerprint());
    for (const FinishedEvent::Source& source : outcome.finished.sources)
      EXPECT_THAT(source.id, StartsWith(name + "/"));
    for (const RoundEvent& round : outcome.rounds) {
      for (const RoutedDocument& document : round.documents)
        EXPECT_THAT(document.id, StartsWith(name + "/"));
    }
  }
  for (const auto& retrieval : retrievals) fingerprints.push_back(FingerprintOf(retrieval->Wait()));
  return fingerprints;
}

TEST(BankIsolation, BanksDoNotSeeEachOther) {
  std::vector<SampleQuestion> questions = SampleQuestions();
  questions.resize(Sized(size_t{8}, size_t{3}));
  const std::map<std::string, std::vector<DocumentInput>> banks = TwoBanks(questions);
  std::map<std::string, std::vector<std::string>> alone;
  for (const auto& [name, documents] : banks) {
    TemporaryDirectory directory;
    const std::unique_ptr<Engine> engine = OpenOrDie(NeedleOptions(directory.path(), 2));
    IngestAll(engine->banks().Create(name, {})->get(), documents);
    alone[name] = AskBank(engine.get(), name, questions);
  }
  EXPECT_NE(alone["left"], alone["right"]);

  TemporaryDirectory directory;
  const std::unique_ptr<Engine> engine = OpenOrDie(NeedleOptions(directory.path(), 2));
  std::vector<std::thread> clients;
  for (const auto& [name, documents] : banks) {
    clients.emplace_back([&engine, &name, &documents] {
      IngestAll(engine->banks().Create(name, {})->get(), documents);
    });
  }
  for (std::thread& client : clients) client.join();
  clients.clear();
  std::map<std::string, std::vector<std::string>> together = alone;  // one place for each client
  for (auto& [name, fingerprints] : together) {
    clients.emplace_back([&engine, &questions, &name, &fingerprints] {
      fingerprints = AskBank(engine.get(), name, questions);
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(together, alone);
}

TEST(BankIsolation, ANumberOfAnotherBankIsUnknown) {
  const auto tokenizer = Tokenizer::Load(NeedleCheckpoint() + "/tokenizer.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  TemporaryDirectory directory;
  EngineOptions options = NeedleOptions(directory.path(), 2);
  options.make_token_source = [&](const SamplingParams&) {
    return std::make_unique<ScriptedTokenSource>(
        (*tokenizer)->EncodeTemplate("[1][12]<|object_ref_end|><End-of-Retrieve>blue<|im_end|>"));
  };
  const std::unique_ptr<Engine> engine = OpenOrDie(options);
  const std::vector<DocumentInput> documents = SampleDocuments(20);
  IngestAll(engine->banks().Create("large", {})->get(), documents);
  IngestAll(engine->banks().Create("small", {})->get(), {documents[10], documents[11]});
  GenerateRequest request = Request("small", "Which colour?");
  request.params.constrain_citations = false;
  const Outcome outcome = Ask(engine.get(), request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  const auto cites = [](const QueryEvent& event) {
    return std::holds_alternative<CitationsEvent>(event);
  };
  const auto cited = std::find_if(outcome.events.begin(), outcome.events.end(), cites);
  ASSERT_NE(cited, outcome.events.end());
  const auto& citations = std::get<CitationsEvent>(*cited);
  ASSERT_EQ(citations.documents.size(), 1u);
  EXPECT_EQ(citations.documents[0].id, documents[10].id);
  EXPECT_THAT(citations.unknown_numbers, ElementsAre(12));
  ASSERT_EQ(outcome.finished.sources.size(), 1u);
  EXPECT_EQ(outcome.finished.sources[0].id, documents[10].id);
  EXPECT_EQ(std::get<StartedEvent>(outcome.events[0]).bank_documents, 2);
}

}  // namespace
}  // namespace msa::engine
