#include "engine/text/byte_symbols.h"

#include <set>

#include "gtest/gtest.h"

namespace msa::engine {
namespace {

TEST(ByteSymbols, PrintableBytesStandForThemselvesAndOthersAreShifted) {
  EXPECT_EQ(ByteSymbol('a'), "a");
  EXPECT_EQ(ByteSymbol(' '), "Ġ");
  EXPECT_EQ(ByteSymbol('\n'), "Ċ");
  EXPECT_EQ(ByteSymbol(0x00), "Ā");
  EXPECT_EQ(ByteSymbol(0x7F), "ġ");
  EXPECT_EQ(ByteSymbol(0xA1), "¡");
  EXPECT_EQ(ByteSymbol(0xAD), "Ń");
  EXPECT_EQ(ByteSymbol(0xFF), "ÿ");
}

TEST(ByteSymbols, EveryByteHasItsOwnSymbolAndComesBack) {
  std::set<std::string> symbols;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string symbol = ByteSymbol(static_cast<uint8_t>(byte));
    symbols.insert(symbol);
    EXPECT_EQ(BytesOfSymbols(symbol), std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(symbols.size(), 256u);
}

TEST(ByteSymbols, OtherCharactersSpellNoBytes) {
  for (const char* const text : {" ", "\n", "a b", "\u00AD", "\u0144", "\u4E2D", "\U0001F600"}) {
    EXPECT_EQ(BytesOfSymbols(text), std::nullopt) << text;
  }
  EXPECT_EQ(BytesOfSymbols(""), "");
}

}  // namespace
}  // namespace msa::engine
