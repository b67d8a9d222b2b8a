#include "engine/text/prompt_template.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

using kernels::ToAbsl;

// What a string may and must contain.
struct StringRule {
  const char* key;
  std::string PromptStrings::*value;
  std::vector<const char*> placeholders;  // each at least once, no other
  bool may_be_empty = false;
};

const std::vector<StringRule>& StringRules() {
  static const auto* const rules = new std::vector<StringRule>{
      {"template_head", &PromptStrings::template_head, {}},
      {"question_template", &PromptStrings::question_template, {"{question}"}},
      {"routed_anchor", &PromptStrings::routed_anchor, {}},
      {"template_tail", &PromptStrings::template_tail, {}, true},
      {"response_head", &PromptStrings::response_head, {}, true},
      {"end_of_turn", &PromptStrings::end_of_turn, {}, true},
      {"document_template", &PromptStrings::document_template, {"{number}", "{text}"}},
      {"expansion_template", &PromptStrings::expansion_template, {"{number}", "{text}"}},
      {"citations_end", &PromptStrings::citations_end, {}},
      {"end_of_retrieve", &PromptStrings::end_of_retrieve, {}},
      {"answer_block", &PromptStrings::answer_block, {"{question}"}},
      {"answer_prefix", &PromptStrings::answer_prefix, {}, true},
  };
  return *rules;
}

constexpr std::array<std::string_view, 3> kPlaceholders = {"{question}", "{number}", "{text}"};

absl::Status KeyError(std::string_view key, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("key \"", ToAbsl(key), "\" ", ToAbsl(what)));
}

// The first "<|name|>" in `text` that is not one of the tokenizer's tokens; empty if there is none.
std::string_view FindUnknownSpecial(const Tokenizer& tokenizer, std::string_view text) {
  for (size_t open = text.find("<|"); open != std::string_view::npos;
       open = text.find("<|", open + 1)) {
    const size_t close = text.find("|>", open + 2);
    if (close == std::string_view::npos) break;
    const std::string_view name = text.substr(open, close + 2 - open);
    if (name.find_first_of(" \n{}") != std::string_view::npos) continue;
    if (tokenizer.EncodeTemplate(name).size() != 1) return name;
  }
  return {};
}

bool HasSpecial(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<int32_t> ids = tokenizer.EncodeTemplate(text);
  return std::any_of(ids.begin(), ids.end(), [&](int32_t id) { return tokenizer.IsSpecial(id); });
}

absl::Status CheckString(const StringRule& rule, std::string_view value,
                         const Tokenizer& tokenizer) {
  if (value.empty() && !rule.may_be_empty) return KeyError(rule.key, "must not be empty");
  for (std::string_view placeholder : kPlaceholders) {
    const bool is_there = value.find(placeholder) != std::string_view::npos;
    const bool belongs = std::find(rule.placeholders.begin(), rule.placeholders.end(),
                                   placeholder) != rule.placeholders.end();
    if (belongs && !is_there) {
      return KeyError(rule.key, absl::StrCat("lacks the placeholder ", ToAbsl(placeholder)));
    }
    if (is_there && !belongs) {
      return KeyError(rule.key, absl::StrCat("cannot have the placeholder ", ToAbsl(placeholder)));
    }
  }
  if (const std::string_view name = FindUnknownSpecial(tokenizer, value); !name.empty()) {
    return KeyError(rule.key, absl::StrCat("has ", ToAbsl(name),
                                           ", which is not a token of the model's tokenizer"));
  }
  return absl::OkStatus();
}

absl::StatusOr<PromptStrings> ParseStrings(const std::string& json) {
  const auto file = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object()) return absl::InvalidArgumentError("not a JSON object");
  PromptStrings strings;
  for (const auto& [key, value] : file.items()) {
    const auto rule =
        std::find_if(StringRules().begin(), StringRules().end(),
                     [&key = key](const StringRule& r) { return std::string_view(r.key) == key; });
    if (rule == StringRules().end()) {
      std::string known;
      for (const StringRule& r : StringRules())
        absl::StrAppend(&known, known.empty() ? "" : ", ", r.key);
      return KeyError(key, absl::StrCat("is unknown; known are ", known));
    }
    if (!value.is_string()) {
      return KeyError(key, absl::StrCat("must be a string, not ", value.type_name()));
    }
    strings.*(rule->value) = value.get<std::string>();
  }
  return strings;
}

}  // namespace

std::vector<int32_t> EncodePieces(const Tokenizer& tokenizer, absl::Span<const TextPiece> pieces) {
  std::vector<int32_t> ids;
  std::string text;
  const auto flush = [&] {
    if (text.empty()) return;
    const std::vector<int32_t> text_ids = tokenizer.EncodeText(text);
    ids.insert(ids.end(), text_ids.begin(), text_ids.end());
    text.clear();
  };
  for (const TextPiece& piece : pieces) {
    if (piece.is_special()) {
      flush();
      ids.push_back(piece.special_id);
    } else {
      text += piece.text;
    }
  }
  flush();
  return ids;
}

absl::StatusOr<PromptTemplate> PromptTemplate::Load(const std::string& model_dir,
                                                    const Tokenizer& tokenizer) {
  const std::string path = absl::StrCat(model_dir, "/msa_prompt.json");
  std::error_code error;
  const bool exists = std::filesystem::exists(path, error);
  if (error) return absl::UnavailableError(absl::StrCat(path, ": ", error.message()));
  if (!exists) return Create(PromptStrings(), tokenizer);
  std::ifstream file(path, std::ios::binary);
  const std::string json{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) return absl::UnavailableError(absl::StrCat(path, ": cannot be read"));
  const auto named = [&path](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  };
  const absl::StatusOr<PromptStrings> strings = ParseStrings(json);
  if (!strings.ok()) return named(strings.status());
  absl::StatusOr<PromptTemplate> created = Create(*strings, tokenizer);
  if (!created.ok()) return named(created.status());
  return created;
}

absl::Status PromptTemplate::Validate(const PromptStrings& s, const Tokenizer& tokenizer) {
  for (const StringRule& rule : StringRules()) {
    MSA_RETURN_IF_ERROR(CheckString(rule, s.*(rule.value), tokenizer));
  }
  if (s.question_template.rfind(s.routed_anchor) == std::string::npos) {
    return KeyError("routed_anchor", "is not a part of question_template");
  }
  if (!s.end_of_turn.empty() && !tokenizer.SpecialTokenId(s.end_of_turn).has_value()) {
    return KeyError("end_of_turn", "must be one special token or empty");
  }
  // One marker must not hide the other, and citations must stay apart from both.
  const std::string_view end_of_retrieve = s.end_of_retrieve;
  const std::string_view citations_end = s.citations_end;
  if (end_of_retrieve.find(citations_end) != std::string_view::npos ||
      citations_end.find(end_of_retrieve) != std::string_view::npos) {
    return KeyError("end_of_retrieve", "must not contain citations_end, nor be contained in it");
  }
  if (citations_end.starts_with('[')) return KeyError("citations_end", "must not begin with \"[\"");
  if (end_of_retrieve.starts_with('[')) {
    return KeyError("end_of_retrieve", "must not begin with \"[\"");
  }
  if (HasSpecial(tokenizer, s.answer_prefix)) {
    return KeyError("answer_prefix", "must not contain special tokens");
  }
  return absl::OkStatus();
}

absl::StatusOr<PromptTemplate> PromptTemplate::Create(const PromptStrings& strings,
                                                      const Tokenizer& tokenizer) {
  MSA_RETURN_IF_ERROR(Validate(strings, tokenizer));
  PromptTemplate made;
  made.strings_ = strings;
  made.citations_end_id_ = tokenizer.SpecialTokenId(strings.citations_end);
  made.end_of_retrieve_id_ = tokenizer.SpecialTokenId(strings.end_of_retrieve);
  made.end_of_turn_id_ = tokenizer.SpecialTokenId(strings.end_of_turn);

  Form head;
  AppendForm(tokenizer, strings.template_head, RoutedIn::kNoRound, &head);
  made.head_ids_ = EncodePieces(tokenizer, Fill(head, {}, {}, {}));

  const std::string_view question = strings.question_template;
  const size_t anchor_end = question.rfind(strings.routed_anchor) + strings.routed_anchor.size();
  AppendForm(tokenizer, question.substr(0, anchor_end), RoutedIn::kEveryRound, &made.prompt_);
  AppendForm(tokenizer, question.substr(anchor_end), RoutedIn::kFirstRound, &made.prompt_);
  AppendForm(tokenizer, strings.template_tail, RoutedIn::kNoRound, &made.prompt_);
  AppendForm(tokenizer, strings.response_head, RoutedIn::kNoRound, &made.prompt_);

  AppendForm(tokenizer, strings.document_template, RoutedIn::kNoRound, &made.document_);
  AppendForm(tokenizer, strings.expansion_template, RoutedIn::kNoRound, &made.expansion_);
  AppendForm(tokenizer, strings.citations_end, RoutedIn::kNoRound, &made.citations_end_);
  AppendForm(tokenizer, strings.answer_block, RoutedIn::kNoRound, &made.answer_block_);
  return made;
}

// Cuts `text` at its placeholders and special tokens.
void PromptTemplate::AppendForm(const Tokenizer& tokenizer, std::string_view text,
                                RoutedIn routed_in, Form* form) {
  const auto append_literal = [&](std::string_view literal) {
    std::string ordinary;
    const auto flush = [&] {
      if (!ordinary.empty()) form->push_back({Slot::kLiteral, {-1, ordinary, routed_in}});
      ordinary.clear();
    };
    for (int32_t id : tokenizer.EncodeTemplate(literal)) {
      if (tokenizer.IsSpecial(id)) {
        flush();
        form->push_back({Slot::kLiteral, {id, "", routed_in}});
      } else {
        ordinary += tokenizer.TokenBytes(id);
      }
    }
    flush();
  };
  constexpr std::array<Slot, 3> kSlots = {Slot::kQuestion, Slot::kNumber, Slot::kText};
  while (!text.empty()) {
    size_t first = text.size();
    size_t which = 0;
    for (size_t i = 0; i < kPlaceholders.size(); ++i) {
      if (const size_t at = text.find(kPlaceholders[i]); at < first) {
        first = at;
        which = i;
      }
    }
    if (first > 0) append_literal(text.substr(0, first));
    if (first == text.size()) return;
    form->push_back({kSlots[which], {-1, "", routed_in}});
    text.remove_prefix(first + kPlaceholders[which].size());
  }
}

std::vector<TextPiece> PromptTemplate::Fill(const Form& form, std::string_view question,
                                            std::string_view number, std::string_view text) {
  std::vector<TextPiece> pieces;
  pieces.reserve(form.size());
  for (const Part& part : form) {
    TextPiece& piece = pieces.emplace_back(part.piece);
    switch (part.slot) {
      case Slot::kLiteral:
        break;
      case Slot::kQuestion:
        piece.text = question;
        break;
      case Slot::kNumber:
        piece.text = number;
        break;
      case Slot::kText:
        piece.text = text;
        break;
    }
  }
  return pieces;
}

std::vector<int32_t> PromptTemplate::EncodeDocument(const Tokenizer& tokenizer, uint32_t number,
                                                    std::string_view text) const {
  return EncodePieces(tokenizer, Fill(document_, {}, absl::StrCat(number), text));
}

std::vector<TextPiece> PromptTemplate::Prompt(std::string_view question) const {
  return Fill(prompt_, question, {}, {});
}

std::vector<TextPiece> PromptTemplate::Expansion(uint32_t number, std::string_view text) const {
  return Fill(expansion_, {}, absl::StrCat(number), text);
}

std::vector<TextPiece> PromptTemplate::AnswerBlock(std::string_view question) const {
  return Fill(answer_block_, question, {}, {});
}

}  // namespace msa::engine
