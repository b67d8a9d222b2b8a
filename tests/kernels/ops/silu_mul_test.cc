#include "kernels/ops/silu_mul.h"

#include <cmath>
#include <limits>

#include "tests/kernels/ops/naive_ops.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class SiluMulTest : public OpTest {
 protected:
  std::vector<float> Run(const std::vector<float>& gate, const std::vector<float>& up) {
    const auto count = static_cast<int64_t>(gate.size());
    const DeviceArray<float> gates = OnDevice(gate), ups = OnDevice(up);
    const DeviceArray<float> output = OnDevice(std::vector<float>(gate.size()));
    const absl::Status status = SiluMul(context(), {gates.data(), {1, count}},
                                        {ups.data(), {1, count}}, {output.data(), {1, count}});
    EXPECT_TRUE(status.ok()) << status;
    return output.Values();
  }
};

TEST_P(SiluMulTest, MultipliesTheHandWorkedCase) {
  const std::vector<float> output = Run({0, 1, -1}, {5, 2, 2});
  EXPECT_EQ(output[0], 0.0f);
  EXPECT_FLOAT_EQ(output[1], 2.0f / (1.0f + std::exp(-1.0f)));
  EXPECT_FLOAT_EQ(output[2], -2.0f / (1.0f + std::exp(1.0f)));
}

TEST_P(SiluMulTest, EqualsTheNaiveTwinOverOddSizes) {
  for (const int64_t count : {1, 7, 16, 33, 4096, 10001}) {
    const auto gate = Random(count, 6.0f);
    const auto up = Random(count);
    std::vector<double> expected;
    for (size_t i = 0; i < gate.size(); ++i) expected.push_back(naive::Silu(gate[i]) * up[i]);
    ExpectClose(Run(gate, up), expected, 1e-30, 1e-6);
  }
}

TEST_P(SiluMulTest, AValueDoesNotDependOnItsPlaceBitwise) {
  const auto gate = Random(9000, 4.0f);
  const auto up = Random(9000);
  const std::vector<float> all = Run(gate, up);
  for (const size_t i : {0, 15, 4095, 4096, 8999}) EXPECT_EQ(Run({gate[i]}, {up[i]})[0], all[i]);
}

TEST_P(SiluMulTest, ExtremeGatesSaturate) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> output =
      Run({1e30f, -1e30f, -88, -100, kInfinity, 104}, {1, 1, 1, 1, 1, 1});
  EXPECT_EQ(output[0], 1e30f);
  EXPECT_EQ(output[1], 0.0f);
  EXPECT_NEAR(output[2], -88 * std::exp(-88.0), 1e-42);
  EXPECT_NEAR(output[3], -100 * std::exp(-100.0), 2e-43);
  EXPECT_EQ(output[4], kInfinity);
  EXPECT_EQ(output[5], 104.0f);
  EXPECT_TRUE(std::isnan(Run({std::nanf("")}, {1})[0]));
}

TEST_P(SiluMulTest, TheOutputMayBeAnInput) {
  const auto gate = Random(100);
  const auto up = Random(100);
  const std::vector<float> expected = Run(gate, up);
  for (const bool into_gate : {true, false}) {
    const DeviceArray<float> a = OnDevice(gate), b = OnDevice(up);
    const DeviceArray<float>& target = into_gate ? a : b;
    ASSERT_TRUE(
        SiluMul(context(), {a.data(), {4, 25}}, {b.data(), {4, 25}}, {target.data(), {4, 25}})
            .ok());
    EXPECT_TRUE(SameBits(target.Values(), expected));
  }
}

TEST_P(SiluMulTest, RefusesShapesThatDiffer) {
  std::vector<float> values(8);
  const TensorView<const float, 2> input{values.data(), {2, 4}};
  ExpectInvalid(SiluMul(context(), input, {values.data(), {4, 2}}, {values.data(), {2, 4}}),
                "up [4, 2]");
  ExpectInvalid(SiluMul(context(), input, input, {values.data(), {1, 4}}), "output [1, 4]");
  EXPECT_TRUE(SiluMul(context(), {nullptr, {0, 4}}, {nullptr, {0, 4}}, {nullptr, {0, 4}}).ok());
}

MSA_ON_EVERY_DEVICE(SiluMulTest);

TEST(SiluMulCudaTest, WithoutADeviceItSaysWhatIsMissing) {
  const absl::Status available = CheckDeviceAvailable(DeviceKind::kCuda);
  if (available.ok()) GTEST_SKIP() << "this machine has a CUDA device";
  EXPECT_EQ(SiluMul({DeviceKind::kCuda, nullptr}, {}, {}, {}), available);
}

TEST(SiluMulCudaTest, WithoutAStreamItIsRefused) {
  if (!CheckDeviceAvailable(DeviceKind::kCuda).ok()) GTEST_SKIP() << "needs a CUDA device";
  ExpectInvalid(SiluMul({DeviceKind::kCuda, nullptr}, {}, {}, {}), "stream is null");
}

}  // namespace
}  // namespace msa::kernels
