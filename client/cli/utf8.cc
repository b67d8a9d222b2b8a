#include "client/cli/utf8.h"

#include <cstdint>

namespace msa::client {
namespace {

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

// Length of the well-formed character at `at`, 0 if there is none.
size_t CharacterLength(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() - at < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[at + i])) return 0;
  }
  // The second byte rules out overlong forms, surrogates and what lies beyond U+10FFFF.
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

}  // namespace

size_t FirstInvalidUtf8Byte(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharacterLength(text, at);
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

size_t CharacterBorderAtOrBefore(std::string_view text, size_t position) {
  if (position >= text.size()) return text.size();
  while (position > 0 && IsContinuation(text[position])) --position;
  return position;
}

size_t NumCharacters(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += IsContinuation(c) ? 0 : 1;
  return count;
}

std::string OneLine(std::string_view text, size_t max_characters) {
  std::string line;
  size_t count = 0;
  size_t last_border = 0;
  for (const char c : text) {
    if (!IsContinuation(c)) {
      if (count == max_characters) {
        line.resize(last_border);
        return line + "…";
      }
      ++count;
      last_border = line.size();
    }
    const auto byte = static_cast<uint8_t>(c);
    line.push_back(byte < 0x20 || byte == 0x7F ? ' ' : c);
  }
  return line;
}

}  // namespace msa::client
