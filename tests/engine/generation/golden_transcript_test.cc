// The forced runs of generation.json, made by the method's authors' program: what is fed to the
// model and what its text means.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/generation/citations.h"
#include "tests/engine/generation/scripted_token_source.h"
#include "tests/engine/generation/tiny_model.h"

namespace msa::engine {
namespace {

using Action = Interleave::Action;
using nlohmann::json;

json ReadJson(const std::string& name) {
  std::ifstream file(std::string(MSA_TEST_DATA "/tiny-a/") + name);
  return json::parse(file);
}

json Case(int index) { return ReadJson("generation.json")["cases"][static_cast<size_t>(index)]; }

// Stopped after a number of tokens, not by an eos.
bool IsFreeRun(const json& golden) {
  return golden["end"].get<std::string>().find("eos") == std::string::npos;
}

std::map<uint32_t, std::string> Documents() {
  std::map<uint32_t, std::string> documents;
  const json golden = ReadJson("golden.json");
  for (const json& d : golden["documents"]) {
    documents[d["number"].get<uint32_t>()] = d["text"].get<std::string>();
  }
  return documents;
}

std::vector<uint32_t> Selected(const json& round) {
  std::vector<uint32_t> numbers;
  for (const auto& [layer, selected] : round["selected"].items()) {
    for (const json& number : selected) numbers.push_back(number.get<uint32_t>());
  }
  return numbers;
}

// The tokens of a round that the model wrote: everything fed but the answer block.
std::vector<int32_t> ModelTokens(const json& round) {
  auto ids = round["fed_ids"].get<std::vector<int32_t>>();
  if (round.contains("answer_block")) {
    const auto first = round["answer_block"]["first"].get<ptrdiff_t>();
    const auto count = round["answer_block"]["count"].get<ptrdiff_t>();
    ids.erase(ids.begin() + first, ids.begin() + first + count);
  }
  return ids;
}

class GoldenTranscriptTest : public testing::TestWithParam<int> {
 protected:
  // Puts the case's tokens into the mouth of `interleave`. `add_cited`: the cited documents count
  // as selected.
  void Follow(const json& golden, bool add_cited, Interleave* interleave);
};

void GoldenTranscriptTest::Follow(const json& golden, bool add_cited, Interleave* interleave) {
  static const auto* const documents = new std::map<uint32_t, std::string>(Documents());
  RoundPrompt prompt = interleave->FirstRound();
  const json& rounds = golden["rounds"];
  for (size_t r = 0; r < rounds.size(); ++r) {
    const json& round = rounds[r];
    SCOPED_TRACE(testing::Message() << "round " << r);
    ASSERT_EQ(prompt.token_ids, round["token_ids"].get<std::vector<int32_t>>());
    ASSERT_EQ(prompt.routed, round["routed"].get<std::vector<uint8_t>>());
    EXPECT_EQ(interleave->round(), static_cast<int>(r));
    std::vector<uint32_t> selected = Selected(round);
    if (add_cited) {
      for (uint32_t n : FindCitations(round["model_writes"].get<std::string>(), 100)) {
        selected.push_back(n);
      }
    }
    interleave->OnSelected(selected);

    const std::vector<int32_t> written = ModelTokens(round);
    const size_t block_first = round.contains("answer_block")
                                   ? round["answer_block"]["first"].get<size_t>()
                                   : written.size() + 1;
    ScriptedTokenSource source(written);
    Action action = Action::kDecode;
    for (size_t i = 0; i < written.size(); ++i) {
      const auto token_id = source.Choose({}, {}, interleave->AllowedTokens());
      ASSERT_TRUE(token_id.ok()) << token_id.status();
      action = interleave->OnToken(*token_id);
      if (i + 1 == block_first) {
        ASSERT_EQ(action, Action::kFeedAnswerBlock);
        EXPECT_EQ(interleave->answer_block_ids(),
                  round["answer_block"]["ids"].get<std::vector<int32_t>>());
      } else if (i + 1 < written.size()) {
        ASSERT_EQ(action, Action::kDecode) << "token " << i;
      }
    }
    if (round["then"] == "next_round") {
      ASSERT_EQ(action, Action::kExpand);
      std::vector<ExpandedDocument> found;
      for (uint32_t number : interleave->citations()) {
        if (const auto d = documents->find(number); d != documents->end()) {
          found.push_back({number, "", d->second});
        }
      }
      ASSERT_EQ(interleave->Expand(found, &prompt), Action::kDecode);
    } else {
      ASSERT_EQ(round["then"], "finished");
    }
    EXPECT_EQ(interleave->running_text(), round["text"].get<std::string>());
  }
}

TEST_P(GoldenTranscriptTest, GivesTheSamePromptsBlocksAndTexts) {
  const json golden = Case(GetParam());
  SCOPED_TRACE(golden["name"].get<std::string>());
  const auto interleave =
      MakeInterleave(FreeCitations(), golden["question_text"].get<std::string>());
  Follow(golden, /*add_cited=*/false, interleave.get());
  if (HasFatalFailure() || IsFreeRun(golden)) return;
  ASSERT_EQ(interleave->OnToken(kImEnd), Action::kFinished);
  EXPECT_EQ(interleave->running_text(), golden["rounds"].back()["text"].get<std::string>());
  if (golden["answer"].is_null()) {
    EXPECT_EQ(interleave->finish_reason(), FinishReason::kNoAnswer);
    EXPECT_EQ(interleave->answer(), "");
  } else {
    EXPECT_EQ(interleave->finish_reason(), FinishReason::kStop);
    EXPECT_EQ(interleave->answer(), golden["answer"].get<std::string>());
  }
}

// The model's tokens are those of its text; but for the case that is about other ones.
TEST_P(GoldenTranscriptTest, ModelWritesItsTextsTokens) {
  const json golden = Case(GetParam());
  const Tokenizer& tokenizer = *GetTinyModel().tokenizer;
  for (const json& round : golden["rounds"]) {
    const auto text = round["model_writes"].get<std::string>();
    // The answer begins anew after the block: what stands before it is encoded by itself.
    const size_t answer = std::min(text.find("The answer"), text.size());
    std::vector<int32_t> ids = tokenizer.EncodeTemplate(text.substr(0, answer));
    const auto answer_ids = tokenizer.EncodeTemplate(text.substr(answer));
    ids.insert(ids.end(), answer_ids.begin(), answer_ids.end());
    std::vector<int32_t> written = ModelTokens(round);
    if (IsFreeRun(golden)) written.resize(std::min(written.size(), ids.size()));
    if (golden["name"] == "unusual_tokenisation") {
      EXPECT_EQ(tokenizer.Decode(ids, false), tokenizer.Decode(written, false));
    } else {
      EXPECT_EQ(ids, written);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Case, GoldenTranscriptTest, testing::Range(0, 18));

// A constrained model may write what the forced models write.
class WellFormedTranscriptTest : public GoldenTranscriptTest {};

TEST_P(WellFormedTranscriptTest, IsAllowedByTheConstraint) {
  const json golden = Case(GetParam());
  SCOPED_TRACE(golden["name"].get<std::string>());
  const auto interleave = MakeInterleave({}, golden["question_text"].get<std::string>());
  Follow(golden, /*add_cited=*/true, interleave.get());
}

// Not those with repeated or malformed citations or leading zeros, nor those with other text.
INSTANTIATE_TEST_SUITE_P(Case, WellFormedTranscriptTest,
                         testing::Values(0, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 16, 17));

TEST(GoldenTranscriptsTest, AreEighteen) {
  EXPECT_EQ(ReadJson("generation.json")["cases"].size(), 18U);
}

}  // namespace
}  // namespace msa::engine
