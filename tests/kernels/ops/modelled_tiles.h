#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/core/dtype.h"
#include "kernels/ops/dot_product.h"

// AMX tiles as Intel's manual (Software Developer's Manual, volume 2, TDPBF16PS) describes them, for
// machines without: what dot_amx-inl.h wants of its `Tiles`. A thread has its own.
namespace msa::kernels {

class ModelledTiles {
 public:
  static void Begin() { configured() = true; }
  static void End() { configured() = false; }
  static bool& configured() {
    static thread_local bool is_configured = false;
    return is_configured;
  }

  template <int T>
  static void Zero() {
    tile<T>().fill(std::byte{0});
  }
  template <int T>
  static void Load(const void* first_row, size_t stride) {
    for (size_t row = 0; row < 16; ++row) {
      std::memcpy(tile<T>().data() + 64 * row,
                  static_cast<const std::byte*>(first_row) + row * stride, 64);
    }
  }
  // Sums of even and of odd elements over the step, then both on top of C.
  template <int C, int A, int B>
  static void Dot() {
    for (size_t i = 0; i < 16; ++i) {
      for (size_t j = 0; j < 16; ++j) {
        float even = 0;
        float odd = 0;
        for (size_t pair = 0; pair < 16; ++pair) {
          even += Element<A>(i, 2 * pair) * Element<B>(pair, 2 * j);
          odd += Element<A>(i, 2 * pair + 1) * Element<B>(pair, 2 * j + 1);
        }
        float sum;
        std::memcpy(&sum, tile<C>().data() + 64 * i + 4 * j, 4);
        sum += even + odd;
        std::memcpy(tile<C>().data() + 64 * i + 4 * j, &sum, 4);
      }
    }
  }
  template <int C>
  static void Store(float* sums) {
    std::memcpy(sums, tile<C>().data(), 1024);
  }

  static void PreparePairs(const float* row, size_t count, uint32_t* pairs) {
    std::array<BF16, 32> elements{};
    for (size_t i = 0; i < count; ++i) elements[i] = ToBF16(row[i]);
    std::memcpy(pairs, elements.data(), sizeof(elements));
  }
  static void WriteProducts(const float* sums, size_t num_rows, size_t num_stored,
                            const DotBlock& block, float* out) {
    for (size_t m = 0; m < num_rows; ++m) {
      for (size_t n = 0; n < num_stored; ++n) {
        float& target = out[m * block.out_stride + n];
        target = block.add ? target + sums[16 * n + m] : sums[16 * n + m];
      }
    }
  }

 private:
  template <int T>
  static std::array<std::byte, 1024>& tile() {
    static_assert(T >= 0 && T < 8);
    static thread_local std::array<std::byte, 1024> bytes;
    if (!configured()) std::abort();
    return bytes;
  }
  template <int T>
  static float Element(size_t row, size_t column) {
    BF16 element;
    std::memcpy(&element, tile<T>().data() + 64 * row + 2 * column, 2);
    return ToF32(element);
  }
};

}  // namespace msa::kernels
