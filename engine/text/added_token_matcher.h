#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/text/tokenizer_file.h"

namespace msa::engine {

// Finds added tokens in text as Hugging Face does: the leftmost occurrence, of several that begin
// there the longest, occurrences do not overlap. Time grows with text length times
// kMaxAddedTokenBytes at worst. Thread-safe once built.
class AddedTokenMatcher {
 public:
  // Either an added token, or the text between two (id kNoToken).
  struct Piece {
    static constexpr int32_t kNoToken = -1;
    int32_t id = kNoToken;
    std::string_view
        text;  // of a token: what it covers, with the white space that lstrip and rstrip take away
  };

  // `pattern`: what to look for, not empty; the token's content, normalised if the token says so.
  // The first of equal patterns wins.
  void Add(std::string_view pattern, const AddedToken& token);

  // `text` (well-formed UTF-8) in pieces, none empty. If not `match_special`, occurrences of
  // special tokens are part of the text around them.
  std::vector<Piece> Split(std::string_view text, bool match_special) const;

 private:
  struct Node {
    int32_t token_index = -1;  // in tokens_; -1: no pattern ends here
  };
  struct Occurrence {
    int32_t token_index = -1;
    size_t length = 0;  // bytes
  };

  // The longest pattern that `text` begins with; token_index -1 if there is none.
  Occurrence LongestAtFront(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  // A trie: nodes_[0] is the root; edges_ lead from (node, byte) to a node.
  std::vector<Node> nodes_ = {Node{}};
  absl::flat_hash_map<uint64_t, uint32_t> edges_;
  std::bitset<256> first_bytes_;
};

}  // namespace msa::engine
