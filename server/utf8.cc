#include "server/utf8.h"

#include <cstdint>

namespace msa::server {
namespace {

// Bytes of the character that `text` starts with; 0 when it starts with none.
size_t CharacterLength(std::string_view text) {
  const auto byte = [&](size_t index) { return static_cast<uint8_t>(text[index]); };
  const auto continues = [&](size_t index, uint8_t low, uint8_t high) {
    return index < text.size() && byte(index) >= low && byte(index) <= high;
  };
  if (text.empty()) return 0;
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1, 0x80, 0xbf) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const uint8_t low = first == 0xe0 ? 0xa0 : 0x80;
    const uint8_t high = first == 0xed ? 0x9f : 0xbf;
    return continues(1, low, high) && continues(2, 0x80, 0xbf) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const uint8_t low = first == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xf4 ? 0x8f : 0xbf;
    return continues(1, low, high) && continues(2, 0x80, 0xbf) && continues(3, 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string ToSafeUtf8(std::string_view text, size_t max_bytes) {
  std::string safe;
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    if (safe.size() + (length == 0 ? 1 : length) > max_bytes) break;
    if (length == 0) {
      safe += '?';
      text.remove_prefix(1);
    } else {
      safe.append(text.substr(0, length));
      text.remove_prefix(length);
    }
  }
  return safe;
}

}  // namespace msa::server
