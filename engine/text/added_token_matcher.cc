#include "engine/text/added_token_matcher.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>

namespace msa::engine {
namespace {

uint64_t EdgeKey(uint32_t node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
}

// Well-formed text, not empty; the same for the next function.
UChar32 FirstCharacter(std::string_view text) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  size_t end = 0;
  UChar32 character = 0;
  U8_NEXT_UNSAFE(bytes, end, character);
  return character;
}

UChar32 LastCharacter(std::string_view text, size_t* begin) {
  *begin = text.size() - 1;
  while (U8_IS_TRAIL(text[*begin])) --*begin;
  return FirstCharacter(text.substr(*begin));
}

// \w of Unicode Technical Standard 18.
bool IsWord(UChar32 character) {
  constexpr uint32_t kCategories = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  return u_hasBinaryProperty(character, UCHAR_ALPHABETIC) ||
         (U_GET_GC_MASK(character) & kCategories) != 0 ||
         u_hasBinaryProperty(character, UCHAR_JOIN_CONTROL);
}

bool IsSingleWord(std::string_view text, size_t begin, size_t end) {
  size_t unused = 0;
  return (begin == 0 || !IsWord(LastCharacter(text.substr(0, begin), &unused))) &&
         (end == text.size() || !IsWord(FirstCharacter(text.substr(end))));
}

// Where the white space before `end` begins, `begin` at the earliest.
size_t SkipSpaceBackwards(std::string_view text, size_t begin, size_t end) {
  while (end > begin) {
    size_t character_begin = 0;
    if (!u_isUWhiteSpace(LastCharacter(text.substr(0, end), &character_begin))) break;
    end = character_begin;
  }
  return end;
}

size_t SkipSpace(std::string_view text, size_t position) {
  while (position < text.size()) {
    const UChar32 character = FirstCharacter(text.substr(position));
    if (!u_isUWhiteSpace(character)) break;
    position += static_cast<size_t>(U8_LENGTH(character));
  }
  return position;
}

}  // namespace

void AddedTokenMatcher::Add(std::string_view pattern, const AddedToken& token) {
  uint32_t node = 0;
  for (const char byte : pattern) {
    const auto next = static_cast<uint32_t>(nodes_.size());
    const auto [edge, is_new] = edges_.try_emplace(EdgeKey(node, byte), next);
    if (is_new) nodes_.push_back({});
    node = edge->second;
  }
  if (nodes_[node].token_index >= 0) return;
  nodes_[node].token_index = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
  first_bytes_.set(static_cast<uint8_t>(pattern[0]));
}

AddedTokenMatcher::Occurrence AddedTokenMatcher::LongestAtFront(std::string_view text) const {
  Occurrence longest;
  if (!first_bytes_[static_cast<uint8_t>(text[0])]) return longest;
  uint32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto edge = edges_.find(EdgeKey(node, text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (nodes_[node].token_index >= 0) longest = {nodes_[node].token_index, i + 1};
  }
  return longest;
}

std::vector<AddedTokenMatcher::Piece> AddedTokenMatcher::Split(std::string_view text,
                                                               bool match_special) const {
  std::vector<Piece> pieces;
  size_t done = 0;  // everything before is in a piece
  for (size_t position = 0; position < text.size();) {
    const Occurrence found = LongestAtFront(text.substr(position));
    if (found.token_index < 0) {
      ++position;
      continue;
    }
    size_t begin = position;
    size_t end = position + found.length;
    position = end;
    const AddedToken& token = tokens_[static_cast<size_t>(found.token_index)];
    // An occurrence that does not count still hides those that overlap it.
    if (token.special && !match_special) continue;
    if (token.single_word && !IsSingleWord(text, begin, end)) continue;
    if (begin < done) continue;  // in white space that the last token has taken
    if (token.lstrip) begin = SkipSpaceBackwards(text, done, begin);
    if (token.rstrip) end = SkipSpace(text, end);
    if (begin > done) pieces.push_back({Piece::kNoToken, text.substr(done, begin - done)});
    pieces.push_back({token.id, text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size()) pieces.push_back({Piece::kNoToken, text.substr(done)});
  return pieces;
}

}  // namespace msa::engine
