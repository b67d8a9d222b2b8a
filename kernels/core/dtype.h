#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace msa::kernels {

// How numbers are stored. F16 occurs in checkpoints only; it is widened to f32 when weights are
// loaded.
enum class DType : uint8_t { kF32 = 0, kBF16 = 1, kF16 = 2 };

constexpr size_t SizeOf(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }
constexpr std::string_view NameOf(DType dtype) {
  return dtype == DType::kF32 ? "f32" : dtype == DType::kBF16 ? "bf16" : "f16";
}

// The upper half of an f32.
struct BF16 {
  uint16_t bits;
};

constexpr float ToF32(BF16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

// Round to nearest, ties to even; NaN stays a (quiet) NaN; overflow rounds to infinity.
constexpr BF16 ToBF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

}  // namespace msa::kernels
