#include "kernels/core/large_array.h"

#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"

namespace msa::kernels {
namespace {

uintptr_t AddressOf(const LargeArray& array) { return reinterpret_cast<uintptr_t>(array.get()); }

TEST(LargeArrayTest, SmallOnesAreAlignedToACacheLine) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{64}, size_t{1000}, size_t{16} << 10}) {
    const LargeArray array = AllocateLargeArray(size);
    ASSERT_NE(array, nullptr) << size;
    EXPECT_EQ(AddressOf(array) % 64, 0u) << size;
    std::memset(array.get(), 1, size);
  }
}

TEST(LargeArrayTest, LargeOnesBeginOnAHugePage) {
  const size_t size = (size_t{16} << 20) + 5;
  const LargeArray array = AllocateLargeArray(size);
  ASSERT_NE(array, nullptr);
  EXPECT_EQ(AddressOf(array) % (size_t{2} << 20), 0u);
  std::memset(array.get(), 1, size);
}

// A sanitizer's allocator ends the program instead.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(LargeArrayTest, WithoutMemoryThereIsNone) {
  EXPECT_EQ(AllocateLargeArray(SIZE_MAX / 2), nullptr);
}
#endif

}  // namespace
}  // namespace msa::kernels
