#include "kernels/ops/max_over_rows.h"

#include <bit>
#include <limits>

#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class MaxOverRowsTest : public OpTest {};
MSA_ON_EVERY_LEVEL(MaxOverRowsTest);

TEST_P(MaxOverRowsTest, IsTheOneThatALoopFinds) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> special = {kNaN, kInfinity, -kInfinity, 0.0f, -0.0f};
  for (const size_t num_rows : {0, 1, 2, 7, 50}) {
    for (size_t count = 1; count <= 150; count += count < 20 ? 1 : 13) {
      const size_t stride = count + 3;
      std::vector<float> rows = Random(static_cast<int64_t>((num_rows + 1) * stride));
      for (float& value : rows) {
        if (RandomBelow(3) == 0) value = special[static_cast<size_t>(RandomBelow(5))];
      }
      std::vector<float> out(count + 1, 77.0f);
      MaxOverRows(rows.data(), num_rows, stride, count, out.data());
      for (size_t j = 0; j < count; ++j) {
        float expected = -kInfinity;
        for (size_t t = 0; t < num_rows; ++t) {
          if (rows[t * stride + j] > expected) expected = rows[t * stride + j];
        }
        EXPECT_EQ(std::bit_cast<uint32_t>(out[j]), std::bit_cast<uint32_t>(expected))
            << num_rows << " rows, column " << j << " of " << count;
      }
      EXPECT_EQ(out[count], 77.0f) << "nothing behind the columns is written";
    }
  }
}

}  // namespace
}  // namespace msa::kernels
