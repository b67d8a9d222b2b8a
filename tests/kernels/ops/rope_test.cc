#include "kernels/ops/rope.h"

#include <algorithm>
#include <cmath>

#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class RopeTest : public OpTest {
 protected:
  std::vector<float> Run(const std::vector<float>& values, const std::vector<int32_t>& positions,
                         int64_t num_heads, double theta) {
    const auto rows = static_cast<int64_t>(positions.size());
    const int64_t head_dim = static_cast<int64_t>(values.size()) / (rows * num_heads);
    RopeTable table(head_dim, theta, 1 << 20);
    const int32_t last = *std::max_element(positions.begin(), positions.end());
    EXPECT_TRUE(table.Extend(context(), last / 2 + 1).ok());
    EXPECT_TRUE(table.Extend(context(), int64_t{last} + 1).ok());
    const DeviceArray<float> heads = OnDevice(values);
    const absl::Status status =
        Rope(context(), {heads.data(), {rows, num_heads, head_dim}}, positions, table);
    EXPECT_TRUE(status.ok()) << status;
    return heads.Values();
  }
};

TEST_P(RopeTest, RotatesTheHandWorkedCase) {
  // D = 2: one pair, angle = position.
  const std::vector<float> turned = Run({1, 0, 0, 1}, {0, 1}, 1, 10000.0);
  EXPECT_EQ(turned[0], 1.0f);
  EXPECT_EQ(turned[1], 0.0f);
  EXPECT_FLOAT_EQ(turned[2], -std::sin(1.0f));
  EXPECT_FLOAT_EQ(turned[3], std::cos(1.0f));
}

TEST_P(RopeTest, EqualsTheNaiveTwinAlsoFarOut) {
  const int64_t num_heads = 3;
  const std::vector<int32_t> positions = {0, 7, 40959, 131071};
  for (const int64_t head_dim : {2, 6, 34, 64, 128}) {
    const auto values = Random(4 * num_heads * head_dim);
    std::vector<double> expected;
    for (size_t row = 0; row < positions.size() * 3; ++row) {
      const float* const head = &values[row * static_cast<size_t>(head_dim)];
      const int64_t half = head_dim / 2;
      std::vector<double> rotated(static_cast<size_t>(head_dim));
      for (int64_t i = 0; i < half; ++i) {
        const double angle = positions[row / 3] * std::pow(5e6, -2.0 * static_cast<double>(i) /
                                                                    static_cast<double>(head_dim));
        rotated[static_cast<size_t>(i)] =
            head[i] * std::cos(angle) - head[i + half] * std::sin(angle);
        rotated[static_cast<size_t>(i + half)] =
            head[i + half] * std::cos(angle) + head[i] * std::sin(angle);
      }
      expected.insert(expected.end(), rotated.begin(), rotated.end());
    }
    ExpectClose(Run(values, positions, num_heads, 5e6), expected, 1e-6, 1e-6);
  }
}

TEST_P(RopeTest, PositionZeroChangesNothing) {
  const auto values = Random(2 * 40);
  EXPECT_TRUE(SameBits(Run(values, {0, 0}, 1, 1e6), values));
}

TEST_P(RopeTest, ARowAloneEqualsTheSameRowInABatchBitwise) {
  const int64_t row = 2 * 36;
  const auto values = Random(300 * row);
  std::vector<int32_t> positions(300);
  for (size_t t = 0; t < positions.size(); ++t) positions[t] = static_cast<int32_t>(3 * t);
  const std::vector<float> batch = Run(values, positions, 2, 5e6);
  for (const int64_t t : {0, 1, 250, 299}) {
    const std::vector<float> alone = Run({values.begin() + t * row, values.begin() + (t + 1) * row},
                                         {positions[static_cast<size_t>(t)]}, 2, 5e6);
    EXPECT_TRUE(SameBits(alone.data(), &batch[static_cast<size_t>(t * row)], alone.size()));
  }
}

TEST_P(RopeTest, RefusesArgumentsThatDoNotFit) {
  std::vector<float> values(12);
  const std::vector<int32_t> positions = {0, 1};
  RopeTable table(6, 1e4, 100);
  ASSERT_TRUE(table.Extend(context(), 2).ok());
  ExpectInvalid(Rope(context(), {values.data(), {2, 1, 4}}, positions, table),
                "D = 6 of the table");
  ExpectInvalid(Rope(context(), {values.data(), {1, 2, 6}}, positions, table),
                "2 positions and heads [1, 2, 6]");
  ExpectInvalid(Rope(context(), {values.data(), {2, 1, 6}}, std::vector<int32_t>{0, -1}, table),
                "position -1 is not in [0, 2)");
  ExpectInvalid(Rope(context(), {values.data(), {2, 1, 6}}, std::vector<int32_t>{2, 0}, table),
                "position 2 is not in [0, 2)");
  EXPECT_TRUE(Rope(context(), {nullptr, {0, 1, 6}}, {}, table).ok());
}

TEST(RopeTableTest, WhatItHeldStaysAsItGrows) {
  RopeTable table(8, 1e4, 9);
  EXPECT_EQ(table.num_positions(), 0);
  ASSERT_TRUE(table.Extend(OpContext(), 5).ok());
  const std::vector<float> before(table.row(0), table.row(4) + 8);
  ASSERT_TRUE(table.Extend(OpContext(), 3).ok());
  EXPECT_EQ(table.num_positions(), 5);
  ASSERT_TRUE(table.Extend(OpContext(), 6).ok());
  EXPECT_EQ(table.num_positions(), 9);  // twice as many would be ten
  EXPECT_GE(table.bytes(), table.num_positions() * 8 * 4);
  EXPECT_TRUE(SameBits(table.row(0), before.data(), before.size()));
  RopeTable at_once(8, 1e4, 9);
  ASSERT_TRUE(at_once.Extend(OpContext(), table.num_positions()).ok());
  EXPECT_TRUE(
      SameBits(table.row(0), at_once.row(0), 8 * static_cast<size_t>(table.num_positions())));
}

MSA_ON_EVERY_DEVICE(RopeTest);

}  // namespace
}  // namespace msa::kernels
