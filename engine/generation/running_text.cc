#include "engine/generation/running_text.h"

#include <algorithm>
#include <string_view>

#include "engine/text/utf8.h"

namespace msa::engine {

void RunningText::Append(const std::vector<TextPiece>& pieces) {
  pieces_.insert(pieces_.end(), pieces.begin(), pieces.end());
  ends_with_model_text_ = false;
}

void RunningText::AppendModelToken(int32_t token_id) {
  if (tokenizer_->IsSpecial(token_id)) {
    Append({TextPiece{token_id, ""}});
    return;
  }
  if (!ends_with_model_text_) pieces_.emplace_back();
  pieces_.back().text += tokenizer_->TokenBytes(token_id);
  ends_with_model_text_ = true;
}

void RunningText::ReplaceModelEnd(size_t num_bytes, const std::vector<TextPiece>& pieces) {
  if (!ends_with_model_text_ || pieces_.back().text.size() < num_bytes) return;
  pieces_.back().text.resize(pieces_.back().text.size() - num_bytes);
  Append(pieces);
}

void RunningText::AppendRoutedExpansion(const std::vector<TextPiece>& pieces) {
  expansion_begin_ = pieces_.size();
  Append(pieces);
  expansion_end_ = pieces_.size();
}

bool RunningText::Routes(size_t piece_index, bool is_first_round) const {
  if (piece_index >= expansion_begin_ && piece_index < expansion_end_) return true;
  switch (pieces_[piece_index].routed_in) {
    case RoutedIn::kNoRound:
      return false;
    case RoutedIn::kFirstRound:
      return is_first_round;
    case RoutedIn::kEveryRound:
      return true;
  }
  return false;
}

RoundPrompt RunningText::Encode(bool is_first_round) const {
  RoundPrompt prompt;
  for (size_t i = 0; i < pieces_.size();) {
    if (pieces_[i].is_special()) {
      prompt.token_ids.push_back(pieces_[i].special_id);
      prompt.routed.push_back(Routes(i, is_first_round) ? 1 : 0);
      ++i;
      continue;
    }
    size_t end = i + 1;
    while (end < pieces_.size() && !pieces_[end].is_special()) ++end;
    EncodeText(i, end, is_first_round, &prompt);
    i = end;
  }
  return prompt;
}

// The text pieces [begin, end) as one text.
void RunningText::EncodeText(size_t begin, size_t end, bool is_first_round,
                             RoundPrompt* prompt) const {
  // Where routing changes: ends of stretches of text of which every other one routes, in bytes of
  // the normalised text.
  std::string text;
  std::vector<size_t> border_bytes;
  bool routes = Routes(begin, is_first_round);
  const bool first_routes = routes;
  for (size_t i = begin; i < end; ++i) {
    if (!pieces_[i].text.empty() && Routes(i, is_first_round) != routes) {
      border_bytes.push_back(tokenizer_->Normalize(text).size());
      routes = !routes;
    }
    text += pieces_[i].text;
  }
  size_t position = 0;
  size_t num_borders_passed = 0;
  for (int32_t id : tokenizer_->EncodeText(text)) {
    const size_t token_end = position + tokenizer_->TokenBytes(id).size();
    while (num_borders_passed < border_bytes.size() &&
           border_bytes[num_borders_passed] <= position) {
      ++num_borders_passed;
    }
    const bool reaches_over =
        num_borders_passed < border_bytes.size() && border_bytes[num_borders_passed] < token_end;
    const bool is_routed = first_routes == (num_borders_passed % 2 == 0) && !reaches_over;
    prompt->token_ids.push_back(id);
    prompt->routed.push_back(is_routed ? 1 : 0);
    position = token_end;
  }
}

std::string RunningText::Spell() const {
  std::string text;
  for (const TextPiece& piece : pieces_) {
    text += piece.is_special() ? tokenizer_->TokenBytes(piece.special_id)
                               : std::string_view(piece.text);
  }
  return ReplaceInvalidUtf8(text);
}

}  // namespace msa::engine
