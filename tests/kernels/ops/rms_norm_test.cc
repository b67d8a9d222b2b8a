#include "kernels/ops/rms_norm.h"

#include <cmath>

#include "tests/kernels/ops/naive_ops.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class RmsNormTest : public OpTest {
 protected:
  std::vector<float> Run(const std::vector<float>& input, const std::vector<float>& weight,
                         float epsilon) {
    const auto width = static_cast<int64_t>(weight.size());
    const int64_t rows = static_cast<int64_t>(input.size()) / width;
    const DeviceArray<float> from = OnDevice(input), weights = OnDevice(weight);
    const DeviceArray<float> output = OnDevice(std::vector<float>(input.size()));
    const absl::Status status =
        RmsNorm(context(), {from.data(), {rows, width}}, {weights.data(), {width}}, epsilon,
                {output.data(), {rows, width}});
    EXPECT_TRUE(status.ok()) << status;
    return output.Values();
  }
};

TEST_P(RmsNormTest, NormalisesTheHandWorkedCase) {
  // mean of squares 25 / 2 + 12 = 24.5 - epsilon chosen so that the divisor is 5
  EXPECT_EQ(Run({3, 4}, {1, 10}, 12.5f), (std::vector<float>{0.6f, 8}));
}

TEST_P(RmsNormTest, EqualsTheNaiveTwinOverOddSizes) {
  for (const int64_t width : {1, 3, 16, 31, 128, 1000, 1031}) {
    const auto input = Random(9 * width, 3.0f);
    const auto weight = Random(width);
    ExpectClose(Run(input, weight, 1e-6f),
                naive::RmsNorm(naive::Widen(input), naive::Widen(weight), 1e-6), 1e-7, 2e-6);
  }
}

TEST_P(RmsNormTest, ARowAloneEqualsTheSameRowInABatchBitwise) {
  const int64_t width = 517;
  const auto input = Random(100 * width);
  const auto weight = Random(width);
  const std::vector<float> batch = Run(input, weight, 1e-6f);
  for (const int64_t t : {0, 1, 57, 99}) {
    const std::vector<float> row =
        Run({input.begin() + t * width, input.begin() + (t + 1) * width}, weight, 1e-6f);
    EXPECT_TRUE(SameBits(row.data(), &batch[static_cast<size_t>(t * width)], row.size()));
  }
}

TEST_P(RmsNormTest, WorksInPlace) {
  for (const int64_t width : {40, 1031}) {
    const auto input = Random(5 * width);
    const auto weight = Random(width);
    const DeviceArray<float> values = OnDevice(input), weights = OnDevice(weight);
    ASSERT_TRUE(RmsNorm(context(), {values.data(), {5, width}}, {weights.data(), {width}}, 1e-6f,
                        {values.data(), {5, width}})
                    .ok());
    EXPECT_TRUE(SameBits(values.Values(), Run(input, weight, 1e-6f)));
  }
}

TEST_P(RmsNormTest, SmallRowsAreGovernedByEpsilon) {
  EXPECT_EQ(Run({0, 0, 0}, {1, 1, 1}, 1e-6f), (std::vector<float>{0, 0, 0}));
  EXPECT_NEAR(Run({1e-20f}, {1}, 1e-6f)[0], 1e-17f, 1e-23f);
}

TEST_P(RmsNormTest, RefusesShapesThatDoNotFit) {
  std::vector<float> values(12);
  const TensorView<float, 2> rows{values.data(), {3, 4}};
  const TensorView<const float, 2> input{values.data(), {3, 4}};
  ExpectInvalid(RmsNorm(context(), input, {values.data(), {3}}, 1e-6f, rows), "weight [3]");
  ExpectInvalid(RmsNorm(context(), input, {values.data(), {4}}, 1e-6f, {values.data(), {2, 4}}),
                "output [2, 4]");
  ExpectInvalid(RmsNorm(context(), input, {values.data(), {4}}, -1.0f, rows), "epsilon is -1");
  ExpectInvalid(RmsNorm(context(), input, {values.data(), {4}}, std::nanf(""), rows),
                "epsilon is nan");
  EXPECT_TRUE(
      RmsNorm(context(), {nullptr, {0, 4}}, {values.data(), {4}}, 1e-6f, {nullptr, {0, 4}}).ok());
}

MSA_ON_EVERY_DEVICE(RmsNormTest);

}  // namespace
}  // namespace msa::kernels
