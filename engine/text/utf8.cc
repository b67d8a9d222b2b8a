#include "engine/text/utf8.h"

#include <algorithm>
#include <cstdint>

namespace msa::engine {
namespace {

// How many bytes follow a leading byte, and the range of the first of them (the others are 80..BF).
struct LeadingByte {
  size_t num_following = 0;  // 0: the byte leads nothing
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
};

LeadingByte ReadLeadingByte(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {};
}

}  // namespace

Utf8Sequence FirstUtf8Sequence(std::string_view bytes) {
  const auto first = static_cast<uint8_t>(bytes[0]);
  if (first < 0x80) return {Utf8Sequence::Kind::kCharacter, 1};
  const LeadingByte lead = ReadLeadingByte(first);
  if (lead.num_following == 0) return {Utf8Sequence::Kind::kInvalid, 1};
  for (size_t i = 1; i <= lead.num_following; ++i) {
    if (i == bytes.size()) return {Utf8Sequence::Kind::kCutOff, i};
    const auto byte = static_cast<uint8_t>(bytes[i]);
    const uint8_t low = i == 1 ? lead.low : uint8_t{0x80};
    const uint8_t high = i == 1 ? lead.high : uint8_t{0xBF};
    if (byte < low || byte > high) return {Utf8Sequence::Kind::kInvalid, i};
  }
  return {Utf8Sequence::Kind::kCharacter, lead.num_following + 1};
}

size_t FindInvalidUtf8(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const Utf8Sequence sequence = FirstUtf8Sequence(bytes.substr(i));
    if (sequence.kind != Utf8Sequence::Kind::kCharacter) return i;
    i += sequence.length;
  }
  return std::string_view::npos;
}

std::string ReplaceInvalidUtf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const auto is_ascii = [](char c) { return static_cast<uint8_t>(c) < 0x80; };
    const auto ascii_end = std::find_if_not(bytes.begin(), bytes.end(), is_ascii);
    if (const auto num_ascii = static_cast<size_t>(ascii_end - bytes.begin()); num_ascii > 0) {
      text.append(bytes.substr(0, num_ascii));
      bytes.remove_prefix(num_ascii);
      continue;
    }
    const Utf8Sequence sequence = FirstUtf8Sequence(bytes);
    if (sequence.kind == Utf8Sequence::Kind::kCharacter) {
      text.append(bytes.substr(0, sequence.length));
    } else {
      text.append("\xEF\xBF\xBD");
    }
    bytes.remove_prefix(sequence.length);
  }
  return text;
}

}  // namespace msa::engine
