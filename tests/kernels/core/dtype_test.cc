#include "kernels/core/dtype.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace msa::kernels {
namespace {

TEST(DTypeTest, EveryBf16SurvivesTheWayToF32AndBack) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const BF16 value{static_cast<uint16_t>(bits)};
    if (std::isnan(ToF32(value))) {
      EXPECT_TRUE(std::isnan(ToF32(ToBF16(ToF32(value)))));
    } else {
      EXPECT_EQ(ToBF16(ToF32(value)).bits, value.bits);
    }
  }
}

TEST(DTypeTest, RoundingGoesToTheNearestAndTiesToEven) {
  EXPECT_EQ(ToF32(ToBF16(1.0f + 0x1p-9f)), 1.0f);
  EXPECT_EQ(ToF32(ToBF16(1.0f + 0x1p-8f)), 1.0f);                // half way: the even neighbour
  EXPECT_EQ(ToF32(ToBF16(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);  // half way: the even neighbour
  EXPECT_EQ(ToF32(ToBF16(1.0f + 0x1.1p-8f)), 1.0f + 0x1p-7f);
  EXPECT_EQ(ToF32(ToBF16(std::numeric_limits<float>::max())),
            std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(ToF32(ToBF16(std::numeric_limits<float>::quiet_NaN()))));
}

}  // namespace
}  // namespace msa::kernels
