#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

// Integers in files, whatever the machine and the alignment.
namespace msa::engine {

template <class T>
void StoreLittleEndian(T value, std::byte* out) {
  static_assert(std::is_unsigned_v<T>);
  for (size_t i = 0; i < sizeof(T); ++i) out[i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
}

template <class T>
T LoadLittleEndian(const std::byte* bytes) {
  static_assert(std::is_unsigned_v<T>);
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | static_cast<T>(bytes[i]) << (8 * i));
  }
  return value;
}

}  // namespace msa::engine
