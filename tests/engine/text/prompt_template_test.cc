#include "engine/text/prompt_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace msa::engine {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const Tokenizer& GetTokenizer() {
  static const Tokenizer* const tokenizer = [] {
    auto loaded = Tokenizer::Load(MSA_TEST_DATA "/tiny-a/checkpoint/tokenizer.json");
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded->release();
  }();
  return *tokenizer;
}

std::string Spell(const std::vector<TextPiece>& pieces) {
  return GetTokenizer().Decode(EncodePieces(GetTokenizer(), pieces), /*skip_special=*/false);
}

// A model folder with this msa_prompt.json.
class PromptFileTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("msa_prompt_" + std::to_string(getpid()) + "_" + test->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<PromptTemplate> Load(const std::string& content) {
    std::ofstream(folder_ / "msa_prompt.json") << content;
    return PromptTemplate::Load(folder_.string(), GetTokenizer());
  }
  // The error of a file that is refused; it must name the file.
  std::string Error(const std::string& content) {
    const auto loaded = Load(content);
    if (loaded.ok()) return "accepted";
    EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(loaded.status().ToString(), HasSubstr((folder_ / "msa_prompt.json").string()));
    return loaded.status().ToString();
  }

  std::filesystem::path folder_;
};

TEST(PromptTemplateTest, EncodesTheGoldenDocumentsAndTheTemplateHead) {
  std::ifstream file(MSA_TEST_DATA "/tiny-a/golden.json");
  const auto golden = nlohmann::json::parse(file);
  const auto prompt_template = PromptTemplate::Create({}, GetTokenizer());
  ASSERT_TRUE(prompt_template.ok()) << prompt_template.status();
  EXPECT_EQ(prompt_template->head_ids(),
            golden["template_prefix"]["token_ids"].get<std::vector<int32_t>>());
  ASSERT_FALSE(golden["documents"].empty());
  for (const auto& document : golden["documents"]) {
    EXPECT_EQ(prompt_template->EncodeDocument(GetTokenizer(), document["number"].get<uint32_t>(),
                                              document["text"].get<std::string>()),
              document["token_ids"].get<std::vector<int32_t>>());
  }
}

TEST(PromptTemplateTest, FillsEveryPlaceholder) {
  const auto prompt_template = PromptTemplate::Create({}, GetTokenizer());
  ASSERT_TRUE(prompt_template.ok()) << prompt_template.status();
  EXPECT_EQ(Spell(prompt_template->Expansion(4294967295U, "{number} {text}")),
            "[4294967295]. {number} {text}\n");
  EXPECT_EQ(Spell(prompt_template->AnswerBlock("{question}?")),
            "<|im_start|>The user's question is: {question}?\n<|object_ref_end|>");
  EXPECT_EQ(Spell(prompt_template->CitationsEnd()), "<|object_ref_end|>");
  EXPECT_EQ(prompt_template->citations_end_id(), 2004);
  EXPECT_EQ(prompt_template->end_of_turn_id(), 2002);
  EXPECT_EQ(prompt_template->end_of_retrieve_id(), std::nullopt);
}

TEST(PromptTemplateTest, MarksWhatRoutesInThePrompt) {
  PromptStrings strings;
  strings.question_template = "find it. {question} <|box_start|>find it. !<|box_end|>";
  strings.routed_anchor = "find it.";
  const auto prompt_template = PromptTemplate::Create(strings, GetTokenizer());
  ASSERT_TRUE(prompt_template.ok()) << prompt_template.status();
  std::string every;
  std::string first;
  for (const TextPiece& piece : prompt_template->Prompt("find it. Q")) {
    const std::string text(piece.is_special() ? GetTokenizer().TokenBytes(piece.special_id)
                                              : std::string_view(piece.text));
    if (piece.routed_in == RoutedIn::kEveryRound) every += text;
    if (piece.routed_in == RoutedIn::kFirstRound) first += text;
  }
  EXPECT_EQ(every, "find it. find it. Q <|box_start|>find it.");
  EXPECT_EQ(first, " !<|box_end|>");
}

TEST(PromptTemplateTest, PlaceholdersMayRepeatAndStandAlone) {
  PromptStrings strings;
  strings.document_template = "{number}{text}{number}{text}";
  const auto prompt_template = PromptTemplate::Create(strings, GetTokenizer());
  ASSERT_TRUE(prompt_template.ok()) << prompt_template.status();
  const auto ids = prompt_template->EncodeDocument(GetTokenizer(), 5, "ab");
  EXPECT_EQ(GetTokenizer().Decode(ids, false), "5ab5ab");
}

TEST_F(PromptFileTest, WithoutAFileTheDefaultsHold) {
  const auto loaded = PromptTemplate::Load(folder_.string(), GetTokenizer());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->strings().answer_prefix, PromptStrings().answer_prefix);
}

TEST_F(PromptFileTest, KeysInTheFileReplaceTheDefaults) {
  const auto loaded = Load(R"({"answer_prefix": "Answer:", "end_of_retrieve": "<|box_end|>"})");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->strings().answer_prefix, "Answer:");
  EXPECT_EQ(loaded->strings().citations_end, PromptStrings().citations_end);
  EXPECT_EQ(loaded->end_of_retrieve_id(), 2006);
}

TEST_F(PromptFileTest, UnknownKeysAreRefused) {
  EXPECT_THAT(Error(R"({"anwser_prefix": "x"})"),
              AllOf(HasSubstr("\"anwser_prefix\" is unknown"), HasSubstr("answer_prefix")));
}

TEST_F(PromptFileTest, OnlyStringsAreValues) {
  EXPECT_THAT(Error(R"({"answer_prefix": 3})"), HasSubstr("must be a string, not number"));
  EXPECT_THAT(Error("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Error("{\"answer_prefix\": "), HasSubstr("not a JSON object"));
  EXPECT_THAT(Error(""), HasSubstr("not a JSON object"));
  EXPECT_THAT(Error("{\"answer_prefix\": \"\xFF\"}"), HasSubstr("not a JSON object"));
}

TEST_F(PromptFileTest, PlaceholdersMustBeWhereTheyBelong) {
  EXPECT_THAT(
      Error(R"({"question_template": "Please return all documents related to the question"})"),
      AllOf(HasSubstr("question_template"), HasSubstr("lacks the placeholder {question}")));
  EXPECT_THAT(Error(R"({"document_template": "{text}"})"),
              AllOf(HasSubstr("document_template"), HasSubstr("lacks the placeholder {number}")));
  EXPECT_THAT(Error(R"({"expansion_template": "[{number}]"})"),
              AllOf(HasSubstr("expansion_template"), HasSubstr("lacks the placeholder {text}")));
  EXPECT_THAT(Error(R"({"answer_block": "x"})"), HasSubstr("answer_block"));
  EXPECT_THAT(Error(R"({"template_tail": "{text}"})"),
              AllOf(HasSubstr("template_tail"), HasSubstr("cannot have the placeholder {text}")));
}

TEST_F(PromptFileTest, SpecialTokensMustExist) {
  EXPECT_THAT(Error(R"({"citations_end": "<|cite_end|>"})"),
              AllOf(HasSubstr("citations_end"), HasSubstr("<|cite_end|>")));
  EXPECT_THAT(Error(R"({"template_tail": "<|im_end|><|im_stop|>"})"),
              AllOf(HasSubstr("template_tail"), HasSubstr("<|im_stop|>")));
  EXPECT_THAT(Error(R"({"end_of_turn": "bye"})"), HasSubstr("end_of_turn"));
}

TEST_F(PromptFileTest, StringsMustFitTogether) {
  EXPECT_THAT(Error(R"({"routed_anchor": "elsewhere"})"), HasSubstr("routed_anchor"));
  EXPECT_THAT(Error(R"({"end_of_retrieve": "<|object_ref_end|>"})"), HasSubstr("end_of_retrieve"));
  EXPECT_THAT(Error(R"({"end_of_retrieve": "[end]"})"), HasSubstr("end_of_retrieve"));
  EXPECT_THAT(Error(R"({"citations_end": "[end]"})"), HasSubstr("citations_end"));
  EXPECT_THAT(Error(R"({"answer_prefix": "<|im_start|>:"})"), HasSubstr("answer_prefix"));
  EXPECT_THAT(Error(R"({"template_head": ""})"), HasSubstr("must not be empty"));
}

}  // namespace
}  // namespace msa::engine
