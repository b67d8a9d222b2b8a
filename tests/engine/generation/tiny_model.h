#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/generation/interleave.h"
#include "engine/generation/token_trie.h"
#include "engine/text/prompt_template.h"
#include "engine/text/tokenizer.h"

namespace msa::engine {

// Special tokens of tests/data/tiny-a.
inline constexpr int32_t kEndOfText = 2000;
inline constexpr int32_t kImStart = 2001;
inline constexpr int32_t kImEnd = 2002;
inline constexpr int32_t kRefEnd = 2004;

// The tokenizer of tests/data/tiny-a with the published model's strings.
struct TinyModel {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<PromptTemplate> prompt_template;
  std::unique_ptr<TokenTrie> trie;
};

inline TinyModel LoadTinyModel(const PromptStrings& strings) {
  TinyModel model;
  auto tokenizer = Tokenizer::Load(MSA_TEST_DATA "/tiny-a/checkpoint/tokenizer.json");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  model.tokenizer = *std::move(tokenizer);
  auto prompt_template = PromptTemplate::Create(strings, *model.tokenizer);
  EXPECT_TRUE(prompt_template.ok()) << prompt_template.status();
  model.prompt_template = std::make_unique<PromptTemplate>(*std::move(prompt_template));
  model.trie = std::make_unique<TokenTrie>(*model.tokenizer);
  return model;
}

// The one with the default strings, loaded once.
inline const TinyModel& GetTinyModel() {
  static const auto* const model = new TinyModel(LoadTinyModel(PromptStrings()));
  return *model;
}

inline std::unique_ptr<Interleave> MakeInterleave(GenerationParams params, std::string question,
                                                  const TinyModel& model = GetTinyModel()) {
  return std::make_unique<Interleave>(model.tokenizer.get(), model.prompt_template.get(),
                                      model.trie.get(), std::vector<int32_t>{kImEnd, kEndOfText},
                                      std::move(params), std::move(question));
}

inline GenerationParams FreeCitations() {
  GenerationParams params;
  params.constrain_citations = false;
  return params;
}

// The first round's selection has come.
inline RoundPrompt Start(Interleave* interleave, const std::vector<uint32_t>& selected = {}) {
  RoundPrompt prompt = interleave->FirstRound();
  interleave->OnSelected(selected);
  return prompt;
}

// Gives OnToken the tokens one by one, and returns its answer to the last. It must want another
// token after every other.
inline Interleave::Action Write(Interleave* interleave, const std::vector<int32_t>& token_ids) {
  auto action = Interleave::Action::kDecode;
  for (size_t i = 0; i < token_ids.size(); ++i) {
    action = interleave->OnToken(token_ids[i]);
    const bool goes_on =
        action == Interleave::Action::kDecode || action == Interleave::Action::kFeedAnswerBlock;
    EXPECT_TRUE(goes_on || i + 1 == token_ids.size()) << "token " << i;
  }
  return action;
}

// The same for the tokens of `text`, special ones parsed.
inline Interleave::Action Write(Interleave* interleave, std::string_view text) {
  return Write(interleave, GetTinyModel().tokenizer->EncodeTemplate(text));
}

// The tokens of `text`, one for every byte.
inline std::vector<int32_t> ByteTokens(std::string_view text) {
  std::vector<int32_t> ids;
  const TokenTrie& trie = *GetTinyModel().trie;
  for (char byte : text) ids.push_back(trie.TokensAt(*trie.Child(trie.root(), byte)).front());
  return ids;
}

// The text that the routed tokens of `prompt` spell, with "|" where tokens between them do not
// route.
inline std::string RoutedText(const RoundPrompt& prompt) {
  std::string text;
  for (size_t i = 0; i < prompt.token_ids.size(); ++i) {
    if (prompt.routed[i] == 0) continue;
    if (i > 0 && prompt.routed[i - 1] == 0) text += "|";
    text += GetTinyModel().tokenizer->TokenBytes(prompt.token_ids[i]);
  }
  return text;
}

inline std::string Spell(const std::vector<int32_t>& token_ids) {
  return GetTinyModel().tokenizer->Decode(token_ids, /*skip_special=*/false);
}

}  // namespace msa::engine
