#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/text/prompt_template.h"
#include "engine/text/tokenizer.h"

namespace msa::engine {

// A round's prompt, tokens after the template head.
struct RoundPrompt {
  std::vector<int32_t> token_ids;
  std::vector<uint8_t> routed;  // [token_ids]: 1 where the token routes
};

// Everything that the model reads and writes after the template head, as pieces: what is a special
// token was made one by a template or by the model, whatever the texts of users say. Every round
// encodes it anew. One thread at a time.
class RunningText {
 public:
  // `tokenizer` must outlive the object.
  explicit RunningText(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

  void Append(const std::vector<TextPiece>& pieces);

  // A token that the model wrote. A special one stays special; of others only the text counts.
  void AppendModelToken(int32_t token_id);

  // Replaces the last `num_bytes` bytes by `pieces`, if they are text that the model wrote.
  void ReplaceModelEnd(size_t num_bytes, const std::vector<TextPiece>& pieces);

  // Documents that the model cited. From now on they route, instead of those appended before.
  void AppendRoutedExpansion(const std::vector<TextPiece>& pieces);

  // The prompt of a round. A token routes if it lies within pieces that route in this round: a
  // token that reaches over the border of such pieces does not.
  RoundPrompt Encode(bool is_first_round) const;

  // As one string, special tokens by their content, broken UTF-8 replaced.
  std::string Spell() const;

 private:
  bool Routes(size_t piece_index, bool is_first_round) const;
  void EncodeText(size_t begin, size_t end, bool is_first_round, RoundPrompt* prompt) const;

  const Tokenizer* const tokenizer_;
  std::vector<TextPiece> pieces_;
  bool ends_with_model_text_ = false;
  size_t expansion_begin_ = 0;  // the pieces of the routed expansion: [begin, end)
  size_t expansion_end_ = 0;
};

}  // namespace msa::engine
