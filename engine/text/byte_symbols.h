#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Byte-level BPE writes each byte as one printable character, its symbol, so that tokens can be
// written as text: the printable bytes of Latin-1 stand for themselves, the other 68 are U+0100 and
// upwards in the order of the bytes (a space is U+0120 'Ġ'). The table is OpenAI's GPT-2
// bytes_to_unicode.
namespace msa::engine {

// The symbol of `byte`, as UTF-8.
std::string ByteSymbol(uint8_t byte);

// The bytes that `symbols` (well-formed UTF-8) spells; nullopt if a character of it is no byte's
// symbol.
std::optional<std::string> BytesOfSymbols(std::string_view symbols);

}  // namespace msa::engine
