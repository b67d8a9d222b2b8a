#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "engine/text/tokenizer.h"

namespace msa::engine {

// All ordinary tokens of a vocabulary, found byte by byte. Kept as one sorted list in which a node
// is the range of tokens that begin with the same bytes, so that it costs little more than the
// bytes themselves. Immutable, so thread-safe; built once per model.
class TokenTrie {
 public:
  // The tokens that begin with the same `depth` bytes: [begin, end) of the sorted list.
  struct Node {
    uint32_t begin = 0;
    uint32_t end = 0;
    uint32_t depth = 0;
  };

  // Special tokens are left out: they are told apart by their id, never by their bytes.
  explicit TokenTrie(const Tokenizer& tokenizer);
  // From (id, bytes) pairs; those without bytes are left out.
  explicit TokenTrie(std::vector<std::pair<int32_t, std::string>> tokens);

  Node root() const { return {0, static_cast<uint32_t>(ids_.size()), 0}; }

  // The tokens of `node` that go on with `byte`; nullopt when there are none.
  std::optional<Node> Child(const Node& node, char byte) const;

  // The ids of the tokens that end at `node`, ascending.
  absl::Span<const int32_t> TokensAt(const Node& node) const;

 private:
  // The first token of `node` whose next byte is `byte` or a higher one.
  uint32_t FirstFrom(const Node& node, int byte) const;
  std::string_view Bytes(size_t index) const {
    return std::string_view(bytes_).substr(offsets_[index], offsets_[index + 1] - offsets_[index]);
  }

  std::string bytes_;              // of all tokens, one after the other
  std::vector<uint32_t> offsets_;  // [tokens + 1] into bytes_
  std::vector<int32_t> ids_;       // [tokens], by (bytes, id)
};

}  // namespace msa::engine
