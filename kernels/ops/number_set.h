#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace msa::kernels {

// A set of document numbers that somebody else owns: bits, in blocks of numbers. A block that is
// null or not there has no member.
struct NumberSet {
  static constexpr size_t kNumbersPerBlock = 65536;
  static constexpr size_t kWordsPerBlock = kNumbersPerBlock / 64;

  absl::Span<const uint64_t* const> blocks;  // number / kNumbersPerBlock -> [kWordsPerBlock]

  bool Contains(uint32_t number) const {
    const size_t block = number / kNumbersPerBlock;
    if (block >= blocks.size() || blocks[block] == nullptr) return false;
    return (blocks[block][number / 64 % kWordsPerBlock] >> (number % 64) & 1) != 0;
  }
};

}  // namespace msa::kernels
