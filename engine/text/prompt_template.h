#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/text/tokenizer.h"

namespace msa::engine {

// The model's strings: `msa_prompt.json` beside config.json has these names as keys; the defaults
// are the published model's. Special tokens stand in them by their content.
struct PromptStrings {
  std::string template_head = "<|im_start|>user\n";
  std::string question_template =
      "\nPlease answer the question based on the above historical document "
      "information\n\n{question}\n"
      "Please return all documents related to the question\n";
  // Routed tokens of later rounds end with this part of the question template (its last occurrence
  // there).
  std::string routed_anchor = "Please return all documents related to the question";
  std::string template_tail = "<|im_end|>\n";
  std::string response_head = "<|im_start|>";
  // A special token that ends what the model writes, beside the eos ids; or empty.
  std::string end_of_turn = "<|im_end|>";
  std::string document_template = "<|im_start|>[{number}]. {text}[{number}]<|im_end|>";
  std::string expansion_template = "[{number}]. {text}\n";
  std::string citations_end = "<|object_ref_end|>";
  std::string end_of_retrieve = "<End-of-Retrieve>";
  std::string answer_block = "<|im_start|>The user's question is: {question}\n<|object_ref_end|>";
  std::string answer_prefix = "The answer to the question is:";  // or empty
};

// The rounds in whose prompts the tokens of a piece route.
enum class RoutedIn : uint8_t { kNoRound, kFirstRound, kEveryRound };

// A piece of running text: one special token that the template or the model made, or text. Text
// pieces between specials are joined before they are encoded, and never make special tokens.
struct TextPiece {
  int32_t special_id = -1;  // >= 0: this special token, `text` is unused
  std::string text;
  RoutedIn routed_in = RoutedIn::kNoRound;

  bool is_special() const { return special_id >= 0; }
};

// The tokens of `pieces`.
std::vector<int32_t> EncodePieces(const Tokenizer& tokenizer, absl::Span<const TextPiece> pieces);

// The strings, bound to a tokenizer. Immutable; thread-safe.
class PromptTemplate {
 public:
  // Reads `model_dir`/msa_prompt.json if it is there. InvalidArgument, naming file and key, for
  // unknown keys, values that are no strings, missing or misplaced placeholders and special tokens
  // that the tokenizer lacks.
  static absl::StatusOr<PromptTemplate> Load(const std::string& model_dir,
                                             const Tokenizer& tokenizer);
  static absl::StatusOr<PromptTemplate> Create(const PromptStrings& strings,
                                               const Tokenizer& tokenizer);

  const PromptStrings& strings() const { return strings_; }
  // The template prefix, before every prompt; never empty.
  const std::vector<int32_t>& head_ids() const { return head_ids_; }
  // Those of the marker strings that are one special token.
  std::optional<int32_t> citations_end_id() const { return citations_end_id_; }
  std::optional<int32_t> end_of_retrieve_id() const { return end_of_retrieve_id_; }
  std::optional<int32_t> end_of_turn_id() const { return end_of_turn_id_; }

  // The tokens of document `number`, exactly those that are encoded.
  std::vector<int32_t> EncodeDocument(const Tokenizer& tokenizer, uint32_t number,
                                      std::string_view text) const;

  // The prompt of the first round, after the head, marked with what routes.
  std::vector<TextPiece> Prompt(std::string_view question) const;
  // A cited document as it is appended.
  std::vector<TextPiece> Expansion(uint32_t number, std::string_view text) const;
  // What follows the last appended document: the citations_end string.
  std::vector<TextPiece> CitationsEnd() const { return Fill(citations_end_, {}, {}, {}); }
  std::vector<TextPiece> AnswerBlock(std::string_view question) const;

 private:
  enum class Slot : uint8_t { kLiteral, kQuestion, kNumber, kText };
  struct Part {
    Slot slot = Slot::kLiteral;
    TextPiece piece;  // its text is used by literals only
  };
  using Form = std::vector<Part>;

  PromptTemplate() = default;
  static absl::Status Validate(const PromptStrings& strings, const Tokenizer& tokenizer);
  static void AppendForm(const Tokenizer& tokenizer, std::string_view text, RoutedIn routed_in,
                         Form* form);
  static std::vector<TextPiece> Fill(const Form& form, std::string_view question,
                                     std::string_view number, std::string_view text);

  PromptStrings strings_;
  std::vector<int32_t> head_ids_;
  std::optional<int32_t> citations_end_id_;
  std::optional<int32_t> end_of_retrieve_id_;
  std::optional<int32_t> end_of_turn_id_;
  Form prompt_;
  Form document_;
  Form expansion_;
  Form citations_end_;
  Form answer_block_;
};

}  // namespace msa::engine
