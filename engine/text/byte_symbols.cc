#include "engine/text/byte_symbols.h"

#include <array>

#include "engine/text/utf8.h"

namespace msa::engine {
namespace {

constexpr uint16_t kFirstShifted = 0x100;

struct SymbolTable {
  std::array<uint16_t, 256> code_point{};          // of each byte's symbol
  std::array<int16_t, kFirstShifted + 68> byte{};  // of each code point; -1: none
};

constexpr SymbolTable MakeSymbolTable() {
  SymbolTable table;
  table.byte.fill(-1);
  uint16_t next_shifted = kFirstShifted;
  for (uint16_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const uint16_t code_point = printable ? byte : next_shifted++;
    table.code_point[byte] = code_point;
    table.byte[code_point] = static_cast<int16_t>(byte);
  }
  return table;
}

constexpr SymbolTable kSymbols = MakeSymbolTable();

}  // namespace

std::string ByteSymbol(uint8_t byte) {
  const uint16_t code_point = kSymbols.code_point[byte];
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | (code_point >> 6)),
          static_cast<char>(0x80 | (code_point & 0x3F))};
}

std::optional<std::string> BytesOfSymbols(std::string_view symbols) {
  std::string bytes;
  while (!symbols.empty()) {
    const Utf8Sequence sequence = FirstUtf8Sequence(symbols);
    if (sequence.kind != Utf8Sequence::Kind::kCharacter || sequence.length > 2) return std::nullopt;
    uint32_t code_point = static_cast<uint8_t>(symbols[0]);
    if (sequence.length == 2) {
      code_point = (code_point & 0x1Fu) << 6 | (static_cast<uint8_t>(symbols[1]) & 0x3Fu);
    }
    if (code_point >= kSymbols.byte.size() || kSymbols.byte[code_point] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kSymbols.byte[code_point]));
    symbols.remove_prefix(sequence.length);
  }
  return bytes;
}

}  // namespace msa::engine
