#include "engine/generation/token_trie.h"

#include <algorithm>
#include <tuple>

namespace msa::engine {
namespace {

std::vector<std::pair<int32_t, std::string>> OrdinaryTokens(const Tokenizer& tokenizer) {
  std::vector<std::pair<int32_t, std::string>> tokens;
  for (int32_t id = 0; id < static_cast<int32_t>(tokenizer.vocab_size()); ++id) {
    if (!tokenizer.IsSpecial(id)) tokens.emplace_back(id, std::string(tokenizer.TokenBytes(id)));
  }
  return tokens;
}

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : TokenTrie(OrdinaryTokens(tokenizer)) {}

TokenTrie::TokenTrie(std::vector<std::pair<int32_t, std::string>> tokens) {
  std::erase_if(tokens, [](const auto& token) { return token.second.empty(); });
  // std::string compares bytes as unsigned, and FirstFrom relies on that order.
  std::sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) {
    return std::tie(a.second, a.first) < std::tie(b.second, b.first);
  });
  offsets_.reserve(tokens.size() + 1);
  ids_.reserve(tokens.size());
  offsets_.push_back(0);
  for (const auto& [id, bytes] : tokens) {
    bytes_ += bytes;
    offsets_.push_back(static_cast<uint32_t>(bytes_.size()));
    ids_.push_back(id);
  }
}

uint32_t TokenTrie::FirstFrom(const Node& node, int byte) const {
  uint32_t begin = node.begin;
  uint32_t end = node.end;
  while (begin < end) {
    const uint32_t middle = begin + (end - begin) / 2;
    const std::string_view bytes = Bytes(middle);
    // Tokens that end at the node sort first: they count as below every byte.
    const int next = bytes.size() > node.depth ? static_cast<uint8_t>(bytes[node.depth]) : -1;
    if (next < byte) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

std::optional<TokenTrie::Node> TokenTrie::Child(const Node& node, char byte) const {
  const int wanted = static_cast<uint8_t>(byte);
  const Node child{FirstFrom(node, wanted), FirstFrom(node, wanted + 1), node.depth + 1};
  if (child.begin == child.end) return std::nullopt;
  return child;
}

absl::Span<const int32_t> TokenTrie::TokensAt(const Node& node) const {
  uint32_t end = node.begin;
  while (end < node.end && Bytes(end).size() == node.depth) ++end;
  return absl::MakeConstSpan(ids_).subspan(node.begin, end - node.begin);
}

}  // namespace msa::engine
