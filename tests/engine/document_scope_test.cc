// Queries that may find only a part of a bank.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "engine/text/tokenizer.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/generation/scripted_token_source.h"

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kNumDocuments = Sized(120, 72);
constexpr uint32_t kNumGroups = 4;

class DocumentScopeTest : public testing::TestWithParam<int> {
 protected:
  void Open() { Open(NeedleOptions(directory_.path(), GetParam())); }
  void Open(const EngineOptions& options) {
    engine_ = OpenOrDie(options);
    whole_ = *engine_->banks().Create("whole", {});
    IngestAll(whole_.get(), Documents(/*group=*/-1));
  }
  void TearDown() override {
    whole_.reset();
    engine_.reset();
  }

  // Samples with the numbers from 1, each of a group, or those of one group alone.
  static std::vector<DocumentInput> Documents(int group) {
    std::vector<DocumentInput> documents;
    uint32_t number = 0;
    for (DocumentInput& document : SampleDocuments(kNumDocuments)) {
      document.number = ++number;
      document.metadata["group"] = static_cast<double>(number % kNumGroups);
      if (group < 0 || number % kNumGroups == static_cast<uint32_t>(group)) {
        documents.push_back(std::move(document));
      }
    }
    return documents;
  }

  RetrieveResult Retrieve(const std::string& bank, const DocumentScope& scope) {
    RetrieveRequest request;
    request.bank = bank;
    request.question = SampleQuestions()[0].question;
    request.explain_layers = true;
    request.scope = scope;
    auto result = RetrieveAndWait(engine_.get(), request);
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  absl::Status Refused(const DocumentScope& scope) {
    GenerateRequest request = Request("whole", "Which code?");
    request.scope = scope;
    return engine_->Generate(request, [] {}).status();
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Engine> engine_;
  std::shared_ptr<Bank> whole_;
};

// Documents outside the filter might as well not be there.
TEST_P(DocumentScopeTest, AFilterIsLikeABankOfWhatItKeeps) {
  Open();
  const auto part = *engine_->banks().Create("part", {});
  IngestAll(part.get(), Documents(/*group=*/3));
  const DocumentScope group{.filter = "metadata.group = 3", .document_ids = {}};
  const RetrieveResult filtered = Retrieve("whole", group), alone = Retrieve("part", {});
  ASSERT_EQ(filtered.layers.size(), alone.layers.size());
  for (size_t i = 0; i < alone.layers.size(); ++i) {
    EXPECT_EQ(filtered.layers[i].numbers, alone.layers[i].numbers);
    EXPECT_EQ(filtered.layers[i].scores, alone.layers[i].scores);
  }
  std::vector<SampleQuestion> samples = SampleQuestions();
  samples.resize(Sized(samples.size(), size_t{4}));
  for (const SampleQuestion& sample : samples) {
    GenerateRequest request = Request("whole", sample.question);
    request.scope = group;
    const Outcome in_whole = Ask(engine_.get(), request);
    ASSERT_TRUE(in_whole.status.ok()) << in_whole.status;
    EXPECT_EQ(in_whole.Fingerprint(),
              Ask(engine_.get(), Request("part", sample.question)).Fingerprint());
  }
}

TEST_P(DocumentScopeTest, OnlyTheIdsThatWereGiven) {
  Open();
  const std::vector<DocumentInput> documents = Documents(-1);
  DocumentScope scope;
  for (const size_t i : {7, 3, 50}) scope.document_ids.push_back(documents[i].id);
  scope.document_ids.push_back("nobody");
  std::set<std::string> hits;
  for (const RoutedDocument& hit : Retrieve("whole", scope).hits) hits.insert(hit.id);
  EXPECT_EQ(hits, (std::set<std::string>{documents[7].id, documents[3].id, documents[50].id}));
  // Numbers 8, 4 and 51: with a filter, both must hold.
  scope.filter = "metadata.group = 0";
  hits.clear();
  for (const RoutedDocument& hit : Retrieve("whole", scope).hits) hits.insert(hit.id);
  EXPECT_EQ(hits, (std::set<std::string>{documents[7].id, documents[3].id}));
}

TEST_P(DocumentScopeTest, WhatMatchesNothingIsAnsweredWithoutMemory) {
  Open();
  for (const DocumentScope& scope :
       {DocumentScope{.filter = "metadata.group = 77", .document_ids = {}},
        DocumentScope{.filter = "", .document_ids = {"nobody"}}}) {
    GenerateRequest request = Request("whole", SampleQuestions()[0].question);
    request.scope = scope;
    const Outcome outcome = Ask(engine_.get(), request);
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    EXPECT_TRUE(outcome.finished.without_memory);
    EXPECT_TRUE(outcome.finished.sources.empty());
    EXPECT_TRUE(Retrieve("whole", scope).hits.empty());
  }
}

TEST_P(DocumentScopeTest, ACitedNumberOutsideTheFilterIsUnknown) {
  const auto tokenizer = *Tokenizer::Load(NeedleCheckpoint() + "/tokenizer.json");
  EngineOptions options = NeedleOptions(directory_.path(), GetParam());
  options.make_token_source = [&](const SamplingParams&) {
    return std::make_unique<ScriptedTokenSource>(
        tokenizer->EncodeTemplate("[5][8][999]<|object_ref_end|>"));
  };
  Open(options);
  GenerateRequest request = Request("whole", SampleQuestions()[0].question);
  request.params.constrain_citations = false;
  request.scope.filter = "metadata.group = 0";
  const Outcome outcome = Ask(engine_.get(), request);  // ends with the script
  std::vector<uint32_t> known, unknown;
  for (const QueryEvent& event : outcome.events) {
    if (const auto* citations = std::get_if<CitationsEvent>(&event)) {
      for (const auto& document : citations->documents) known.push_back(document.number);
      unknown = citations->unknown_numbers;
    }
  }
  EXPECT_THAT(known, ElementsAre(8));
  EXPECT_THAT(unknown, ElementsAre(5, 999));
}

TEST_P(DocumentScopeTest, MetadataCountAsTheyAreWhenTheQueryStarts) {
  Open();
  const DocumentScope first_group{.filter = "metadata.group = 1", .document_ids = {}};
  DocumentInput moved = Documents(-1)[0];  // number 1
  const auto finds_it = [&] {
    for (const LayerSelection& layer : Retrieve("whole", first_group).layers) {
      for (const uint32_t number : layer.numbers) {
        if (number == 1) return true;
      }
    }
    return false;
  };
  DocumentScope it{.filter = first_group.filter, .document_ids = {moved.id}};
  EXPECT_EQ(Retrieve("whole", it).hits.size(), 1u);
  moved.number.reset();
  moved.metadata["group"] = 2.0;
  ASSERT_TRUE(
      IngestOne(whole_.get(), moved, IngestMode::kUpsert, AcknowledgeAt::kActive).status.ok());
  EXPECT_TRUE(Retrieve("whole", it).hits.empty());
  EXPECT_FALSE(finds_it());
  it.filter = "metadata.group = 2";
  EXPECT_EQ(Retrieve("whole", it).hits.size(), 1u);
}

TEST_P(DocumentScopeTest, ARevisionThatTheBankHasNotReachedIsRefused) {
  Open();
  DocumentScope scope;
  scope.min_revision = whole_->Info().revision;
  EXPECT_EQ(Retrieve("whole", scope).revision, scope.min_revision);
  scope.min_revision += 1;
  const absl::Status status = Refused(scope);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(kernels::DetailOf(status).reason, "REVISION_NOT_REACHED");
  ASSERT_TRUE(DeleteAndWait(whole_.get(), {Documents(-1)[0].id}).status.ok());
  EXPECT_EQ(Retrieve("whole", scope).revision, scope.min_revision);
}

TEST_P(DocumentScopeTest, AFilterThatCannotBeReadSaysWhere) {
  Open();
  const absl::Status status = Refused({.filter = "metadata.group = ", .document_ids = {}});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(kernels::DetailOf(status).reason, "INVALID_FILTER");
  EXPECT_THAT(std::string(status.message()), HasSubstr("byte 17"));
}

INSTANTIATE_TEST_SUITE_P(Shards, DocumentScopeTest, testing::Values(1, 3));

}  // namespace
}  // namespace msa::engine
