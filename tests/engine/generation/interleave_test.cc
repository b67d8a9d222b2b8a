#include "engine/generation/interleave.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "engine/text/utf8.h"
#include "tests/engine/generation/tiny_model.h"

namespace msa::engine {
namespace {

using Action = Interleave::Action;
using Phase = Interleave::Phase;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kToAnswer[] = "<End-of-Retrieve>";

// An object whose model has begun to answer.
std::unique_ptr<Interleave> Answering(GenerationParams params) {
  params.constrain_citations = false;
  auto interleave = MakeInterleave(std::move(params), "Who?");
  Start(interleave.get());
  EXPECT_EQ(Write(interleave.get(), kToAnswer), Action::kFeedAnswerBlock);
  EXPECT_EQ(interleave->TakeText(), kToAnswer);
  return interleave;
}

// ---- markers

TEST(InterleaveTest, AMarkerInOneTokenWithOtherTextEndsTheRound) {
  const auto interleave = MakeInterleave(FreeCitations(), "Who?");
  Start(interleave.get());
  EXPECT_EQ(Write(interleave.get(), "so <End-of-Retrieve>"), Action::kFeedAnswerBlock);
  EXPECT_THAT(interleave->running_text(),
              testing::HasSubstr("so <End-of-Retrieve><|im_start|>The"));
}

TEST(InterleaveTest, AMarkerSpelledWithOrdinaryTokensIsReadAsTheSpecialOne) {
  const auto interleave = MakeInterleave(FreeCitations(), "Who?");
  RoundPrompt prompt = Start(interleave.get());
  EXPECT_EQ(Write(interleave.get(), ByteTokens("[7]<|object_ref_end|>")), Action::kExpand);
  EXPECT_THAT(interleave->citations(), ElementsAre(7));
  ASSERT_EQ(interleave->Expand({{7, "d", "text"}}, &prompt), Action::kDecode);
  EXPECT_EQ(prompt.token_ids, GetTinyModel().tokenizer->EncodeTemplate(Spell(prompt.token_ids)));
  EXPECT_THAT(RoutedText(prompt), testing::EndsWith("question|[7]. text\n"));
}

TEST(InterleaveTest, OnlyACitationDirectlyBeforeTheMarkerLetsDocumentsRoute) {
  const auto interleave = MakeInterleave(FreeCitations(), "Who?");
  RoundPrompt prompt = Start(interleave.get());
  ASSERT_EQ(Write(interleave.get(), "[7] <|object_ref_end|>"), Action::kExpand);
  ASSERT_EQ(interleave->Expand({{7, "d", "text"}}, &prompt), Action::kDecode);
  EXPECT_THAT(RoutedText(prompt), testing::EndsWith("related to the question"));
  interleave->OnSelected({});
  ASSERT_EQ(Write(interleave.get(), "see [8]<|object_ref_end|>"), Action::kExpand);
  ASSERT_EQ(interleave->Expand({{8, "d", "other"}}, &prompt), Action::kDecode);
  EXPECT_THAT(RoutedText(prompt), testing::EndsWith("question|[8]. other\n"));
  // Where nothing is appended, or not directly, the documents before route again.
  for (const char* text : {"[9]<|object_ref_end|>", "<|object_ref_end|>"}) {
    interleave->OnSelected({});
    ASSERT_EQ(Write(interleave.get(), text), Action::kExpand);
    ASSERT_EQ(interleave->Expand({}, &prompt), Action::kDecode);
    EXPECT_THAT(RoutedText(prompt), testing::EndsWith("question|[8]. other\n"));
  }
  EXPECT_EQ(interleave->round(), 4);
}

TEST(InterleaveTest, MarkersListedAsEosStillMeanTheirRound) {
  const TinyModel& model = GetTinyModel();
  Interleave interleave(model.tokenizer.get(), model.prompt_template.get(), nullptr,
                        {kImEnd, kRefEnd}, FreeCitations(), "Who?");
  Start(&interleave);
  EXPECT_EQ(Write(&interleave, "[7]<|object_ref_end|>"), Action::kExpand);
}

TEST(InterleaveTest, EndOfRetrieveMayBeASpecialToken) {
  PromptStrings strings;
  strings.end_of_retrieve = "<|box_end|>";
  const TinyModel model = LoadTinyModel(strings);
  const int32_t end_id = *model.tokenizer->SpecialTokenId("<|box_end|>");
  const auto interleave = MakeInterleave({}, "Who?", model);
  Start(interleave.get());
  EXPECT_THAT(interleave->AllowedTokens(), ElementsAre(kRefEnd, end_id));
  EXPECT_EQ(interleave->OnToken(end_id), Action::kFeedAnswerBlock);
}

TEST(InterleaveTest, CitationsEndMayBeOrdinaryText) {
  PromptStrings strings;
  strings.citations_end = "</cite>";
  const TinyModel model = LoadTinyModel(strings);
  const auto interleave = MakeInterleave(FreeCitations(), "Who?", model);
  RoundPrompt prompt = Start(interleave.get());
  ASSERT_EQ(Write(interleave.get(), "[7]</cite>"), Action::kExpand);
  ASSERT_EQ(interleave->Expand({{7, "d", "text"}}, &prompt), Action::kDecode);
  EXPECT_THAT(interleave->running_text(), testing::EndsWith("[7]</cite>[7]. text\n</cite>"));
  EXPECT_THAT(RoutedText(prompt), testing::HasSubstr(". text"));
}

TEST(InterleaveTest, AnEosWithoutAMarkerFinishesWithoutAnswer) {
  for (int32_t eos : {kImEnd, kEndOfText}) {
    const auto interleave = MakeInterleave(FreeCitations(), "Who?");
    Start(interleave.get());
    EXPECT_EQ(Write(interleave.get(), "no idea"), Action::kDecode);
    EXPECT_EQ(interleave->OnToken(eos), Action::kFinished);
    EXPECT_EQ(interleave->finish_reason(), FinishReason::kNoAnswer);
    EXPECT_EQ(interleave->answer(), "");
    EXPECT_EQ(interleave->TakeText(), "no idea");
  }
}

TEST(InterleaveTest, TheEndOfTheTurnCountsAsEos) {
  const TinyModel& model = GetTinyModel();
  Interleave interleave(model.tokenizer.get(), model.prompt_template.get(), nullptr, {},
                        FreeCitations(), "Who?");
  Start(&interleave);
  EXPECT_EQ(interleave.OnToken(kEndOfText), Action::kDecode);
  EXPECT_EQ(interleave.OnToken(kImEnd), Action::kFinished);
}

// ---- bounds

TEST(InterleaveTest, RoundsAreBounded) {
  GenerationParams params = FreeCitations();
  params.max_rounds = 2;
  const auto interleave = MakeInterleave(params, "Who?");
  RoundPrompt prompt = Start(interleave.get());
  ASSERT_EQ(Write(interleave.get(), "[7]<|object_ref_end|>"), Action::kExpand);
  ASSERT_EQ(interleave->Expand({}, &prompt), Action::kDecode);
  interleave->OnSelected({});
  EXPECT_EQ(Write(interleave.get(), "[7]<|object_ref_end|>"), Action::kFinished);
  EXPECT_EQ(interleave->finish_reason(), FinishReason::kMaxRounds);
  EXPECT_THAT(interleave->citations(), ElementsAre(7));
}

TEST(InterleaveTest, AConstrainedModelEndsRetrievalInTheLastRound) {
  GenerationParams params;
  params.max_rounds = 2;
  const auto interleave = MakeInterleave(params, "Who?");
  RoundPrompt prompt = Start(interleave.get(), {7});
  ASSERT_EQ(Write(interleave.get(), "[7]<|object_ref_end|>"), Action::kExpand);
  ASSERT_EQ(interleave->Expand({{7, "d", "text"}}, &prompt), Action::kDecode);
  interleave->OnSelected({7});
  Action action = Action::kDecode;
  while (action == Action::kDecode) {
    ASSERT_FALSE(interleave->AllowedTokens().empty());
    action = interleave->OnToken(interleave->AllowedTokens().front());
  }
  EXPECT_EQ(action, Action::kFeedAnswerBlock);
  EXPECT_EQ(interleave->round_text(), kToAnswer);
}

TEST(InterleaveTest, CitationsAreBounded) {
  GenerationParams params = FreeCitations();
  params.max_citations = 2;
  const auto interleave = MakeInterleave(params, "Who?");
  Start(interleave.get());
  ASSERT_EQ(Write(interleave.get(), "[9][3][1]<|object_ref_end|>"), Action::kExpand);
  EXPECT_THAT(interleave->citations(), ElementsAre(3, 9));
}

TEST(InterleaveTest, RetrievalTokensAreBoundedInEveryRound) {
  GenerationParams params = FreeCitations();
  params.max_retrieval_tokens = 4;
  const auto interleave = MakeInterleave(params, "Who?");
  RoundPrompt prompt = Start(interleave.get());
  ASSERT_EQ(Write(interleave.get(), "[7]<|object_ref_end|>"), Action::kExpand);  // four tokens
  ASSERT_EQ(interleave->Expand({}, &prompt), Action::kDecode);
  interleave->OnSelected({});
  EXPECT_EQ(Write(interleave.get(), ByteTokens("abcd")), Action::kFinished);
  EXPECT_EQ(interleave->finish_reason(), FinishReason::kMaxRetrievalTokens);
  EXPECT_EQ(interleave->num_generated_tokens(), 8);
}

TEST(InterleaveTest, ExpansionBytesAreBoundedOverAllRounds) {
  GenerationParams params = FreeCitations();
  params.max_expansion_bytes = 10;
  const auto interleave = MakeInterleave(params, "Who?");
  RoundPrompt prompt = Start(interleave.get());
  ASSERT_EQ(Write(interleave.get(), "[7]<|object_ref_end|>"), Action::kExpand);
  ASSERT_EQ(interleave->Expand({{7, "d", "0123456789"}}, &prompt), Action::kDecode);
  interleave->OnSelected({});
  ASSERT_EQ(Write(interleave.get(), "[7]<|object_ref_end|>"), Action::kExpand);
  const std::vector<int32_t> before = prompt.token_ids;
  EXPECT_EQ(interleave->Expand({{7, "d", "0"}}, &prompt), Action::kFinished);
  EXPECT_EQ(interleave->finish_reason(), FinishReason::kMaxExpansion);
  EXPECT_EQ(prompt.token_ids, before);
}

TEST(InterleaveTest, AnswerTokensAreBounded) {
  GenerationParams params;
  params.max_answer_tokens = 3;
  const auto interleave = Answering(params);
  EXPECT_EQ(Write(interleave.get(), ByteTokens("abc")), Action::kFinished);
  EXPECT_EQ(interleave->finish_reason(), FinishReason::kMaxAnswerTokens);
  EXPECT_EQ(interleave->answer(), "abc");
}

// ---- the constraint

TEST(InterleaveTest, AnyPathThroughAllowedTokensCitesOnlySelectedDocuments) {
  std::mt19937 random(3);
  for (int i = 0; i < 30; ++i) {
    GenerationParams params;
    params.max_rounds = 4;
    params.max_citations = 3;
    const std::vector<uint32_t> selected = {1, 12, 120, 7, 31337};
    const auto interleave = MakeInterleave(params, "Who?");
    RoundPrompt prompt = Start(interleave.get(), selected);
    Action action = Action::kDecode;
    while (action != Action::kFeedAnswerBlock) {
      ASSERT_FALSE(interleave->AllowedTokens().empty());
      const auto allowed = interleave->AllowedTokens();
      action = interleave->OnToken(allowed[random() % allowed.size()]);
      if (action != Action::kExpand) continue;
      std::vector<ExpandedDocument> documents;
      for (uint32_t number : interleave->citations()) {
        EXPECT_THAT(selected, testing::Contains(number));
        documents.push_back({number, "d", "text"});
      }
      EXPECT_LE(documents.size(), 3U);
      action = interleave->Expand(documents, &prompt);
      interleave->OnSelected(selected);
    }
    EXPECT_THAT(interleave->AllowedTokens(), IsEmpty());  // the answer is free
  }
}

TEST(InterleaveTest, AVocabularyThatCannotSpellTheMarkersFinishes) {
  const TinyModel& model = GetTinyModel();
  const std::vector<int32_t> tokens = ByteTokens("[1");
  const TokenTrie trie({{tokens[0], "["}, {tokens[1], "1"}});
  Interleave interleave(model.tokenizer.get(), model.prompt_template.get(), &trie, {kImEnd}, {},
                        "Who?");
  Start(&interleave, {1});
  EXPECT_EQ(Write(&interleave, tokens), Action::kFinished);
  EXPECT_EQ(interleave.finish_reason(), FinishReason::kNoAnswer);
}

// ---- text as it comes

TEST(InterleaveTest, TextBelongsToThePhaseOfItsToken) {
  const auto interleave = MakeInterleave(FreeCitations(), "Who?");
  Start(interleave.get());
  EXPECT_EQ(interleave->phase(), Phase::kRetrieval);
  ASSERT_EQ(Write(interleave.get(), "[3]<End-of-Retrieve>"), Action::kFeedAnswerBlock);
  EXPECT_EQ(interleave->phase(), Phase::kRetrieval);
  EXPECT_EQ(interleave->TakeText(), "[3]<End-of-Retrieve>");
  EXPECT_EQ(interleave->TakeText(), "");
  Write(interleave.get(), "The answer to the question is: Norwick");
  EXPECT_EQ(interleave->phase(), Phase::kAnswer);
  EXPECT_EQ(interleave->TakeText(), "Norwick");
}

TEST(InterleaveTest, SpecialTokensShowInTheRetrievalPhaseOnly) {
  const auto interleave = MakeInterleave(FreeCitations(), "Who?");
  Start(interleave.get());
  interleave->OnToken(kImStart);
  EXPECT_EQ(interleave->TakeText(), "<|im_start|>");
  Write(interleave.get(), kToAnswer);
  interleave->TakeText();
  interleave->OnToken(kImStart);
  Write(interleave.get(), ByteTokens("x"));
  EXPECT_EQ(interleave->TakeText(), "x");
  EXPECT_EQ(interleave->answer(), "x");
}

TEST(InterleaveTest, HalfCharactersAreHeldBack) {
  const std::string text =
      "Br\xC3\xBC"
      "cke \xE7\x81\xAF\xF0\x9F\x98\x80.";
  for (const bool in_answer : {false, true}) {
    const auto interleave = MakeInterleave(FreeCitations(), "Who?");
    Start(interleave.get());
    if (in_answer) Write(interleave.get(), kToAnswer);
    interleave->TakeText();
    std::string streamed;
    for (int32_t id : ByteTokens(text)) {
      interleave->OnToken(id);
      const std::string part = interleave->TakeText();
      EXPECT_EQ(part, ReplaceInvalidUtf8(part));
      EXPECT_EQ(part.find("\xEF\xBF\xBD"), std::string::npos);
      streamed += part;
    }
    EXPECT_EQ(streamed, text);
  }
}

TEST(InterleaveTest, ACharacterThatIsNeverCompletedIsReplaced) {
  const auto interleave = Answering({});
  Write(interleave.get(), ByteTokens("a\xE7\x81"));
  EXPECT_EQ(interleave->TakeText(), "a");
  EXPECT_EQ(interleave->OnToken(kImEnd), Action::kFinished);
  EXPECT_EQ(interleave->TakeText(), "\xEF\xBF\xBD");
  EXPECT_EQ(interleave->answer(), "a\xEF\xBF\xBD");
  EXPECT_EQ(interleave->running_text(), ReplaceInvalidUtf8(interleave->running_text()));
  EXPECT_EQ(interleave->round_text(), std::string(kToAnswer) + "a\xEF\xBF\xBD");
}

TEST(InterleaveTest, StopStringsOverSeveralTokensEndTheAnswer) {
  GenerationParams params;
  params.stop = {"\n\n", "STOP"};
  const auto interleave = Answering(params);
  EXPECT_EQ(Write(interleave.get(), ByteTokens("The answer to the question is: one ST")),
            Action::kDecode);
  EXPECT_EQ(interleave->TakeText(), "one ");
  EXPECT_EQ(Write(interleave.get(), ByteTokens("OP")), Action::kFinished);
  EXPECT_EQ(interleave->finish_reason(), FinishReason::kStopString);
  EXPECT_EQ(interleave->TakeText(), "");
  EXPECT_EQ(interleave->answer(), "one");
}

TEST(InterleaveTest, StopStringsDoNotEndRetrieval) {
  GenerationParams params = FreeCitations();
  params.stop = {"[", "End"};
  const auto interleave = MakeInterleave(params, "Who?");
  Start(interleave.get());
  EXPECT_EQ(Write(interleave.get(), "[3]<End-of-Retrieve>"), Action::kFeedAnswerBlock);
}

TEST(InterleaveTest, AnAnswerWithoutThePrefixIsTheWholeText) {
  const auto interleave = Answering({});
  Write(interleave.get(), " It is Norwick. ");
  EXPECT_EQ(interleave->OnToken(kImEnd), Action::kFinished);
  EXPECT_EQ(interleave->finish_reason(), FinishReason::kStop);
  EXPECT_EQ(interleave->answer(), "It is Norwick.");
  EXPECT_EQ(interleave->TakeText(), "It is Norwick. ");
}

}  // namespace
}  // namespace msa::engine
