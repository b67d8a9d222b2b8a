#include "kernels/ops/sample.h"

#include <cmath>
#include <limits>
#include <map>

#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class SampleTest : public testing::Test {
 protected:
  int32_t Sample(const SampleArgs& args) {
    const absl::StatusOr<int32_t> id = SampleToken({DeviceKind::kCpu, &pool_}, args);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.ok() ? *id : -1;
  }
  absl::Status StatusOf(const SampleArgs& args) {
    return SampleToken({DeviceKind::kCpu, &pool_}, args).status();
  }

 private:
  ThreadPool pool_{1};
};

TEST_F(SampleTest, GreedyTakesTheLargestLogitAndTiesGoToTheLowerId) {
  EXPECT_EQ(Sample({.logits = {1, 3, 2}}), 1);
  EXPECT_EQ(Sample({.logits = {1, 3, 3, 3}}), 1);
  EXPECT_EQ(Sample({.logits = {-kInfinity, -kInfinity}}), 0);
}

TEST_F(SampleTest, OnlyAllowedIdsAreTaken) {
  const int32_t allowed[] = {0, 2};
  EXPECT_EQ(Sample({.logits = {1, 9, 2}, .allowed = allowed}), 2);
  for (const double uniform : {0.0, 0.3, 0.9, 0.999}) {
    EXPECT_NE(
        Sample({.logits = {1, 9, 2}, .allowed = allowed, .temperature = 1, .uniform = uniform}), 1);
  }
}

TEST_F(SampleTest, UniformFallsIntoTheHandWorkedShares) {
  // Probabilities 0.1, 0.6, 0.3: in the order of likelihood ids 1, 2, 0 end at 0.6, 0.9, 1.
  const float logits[] = {std::log(0.1f), std::log(0.6f), std::log(0.3f)};
  const std::map<double, int32_t> expected = {{0.0, 1},  {0.59, 1}, {0.61, 2},
                                              {0.89, 2}, {0.91, 0}, {0.999, 0}};
  for (const auto& [uniform, id] : expected) {
    EXPECT_EQ(Sample({.logits = logits, .temperature = 1, .uniform = uniform}), id) << uniform;
  }
}

TEST_F(SampleTest, TheNucleusIsTheSmallestSetThatReachesTopP) {
  const float logits[] = {std::log(0.1f), std::log(0.6f), std::log(0.3f)};
  // 0.6 reaches 0.5 alone.
  EXPECT_EQ(Sample({.logits = logits, .temperature = 1, .top_p = 0.5f, .uniform = 0.999}), 1);
  // 0.8 needs two, which then share 2/3 and 1/3.
  EXPECT_EQ(Sample({.logits = logits, .temperature = 1, .top_p = 0.8f, .uniform = 0.66}), 1);
  EXPECT_EQ(Sample({.logits = logits, .temperature = 1, .top_p = 0.8f, .uniform = 0.67}), 2);
  EXPECT_EQ(Sample({.logits = logits, .temperature = 1, .top_p = 0.8f, .uniform = 0.9999}), 2);
}

TEST_F(SampleTest, TiesAreOrderedByTheLowerId) {
  const std::vector<float> logits(10, 1.0f);
  for (int32_t id = 0; id < 10; ++id) {
    EXPECT_EQ(Sample({.logits = logits, .temperature = 0.7f, .uniform = (id + 0.5) / 10}), id);
  }
  EXPECT_EQ(Sample({.logits = logits, .temperature = 1, .top_p = 0.29f, .uniform = 0.99}), 2);
}

TEST_F(SampleTest, SharesOfManyDrawsFollowTheProbabilities) {
  const std::vector<float> logits = {0.5f, -1.0f, 2.0f, 0.0f, 1.0f};
  std::vector<double> expected;
  double total = 0;
  for (const float logit : logits) expected.push_back(std::exp(logit / 0.8));
  for (const double weight : expected) total += weight;
  std::vector<int> count(logits.size());
  for (int i = 0; i < 10000; ++i) {
    ++count[static_cast<size_t>(
        Sample({.logits = logits, .temperature = 0.8f, .uniform = (i + 0.5) / 10000}))];
  }
  for (size_t id = 0; id < logits.size(); ++id)
    EXPECT_NEAR(count[id], 10000 * expected[id] / total, 2);
}

TEST_F(SampleTest, ExtremeLogitsAndTemperaturesAreSafe) {
  EXPECT_EQ(Sample({.logits = {1e30f, 3e38f, -3e38f}, .temperature = 1e-30f, .uniform = 0.99}), 1);
  EXPECT_EQ(Sample({.logits = {1, kInfinity, 2, kInfinity}, .temperature = 1, .uniform = 0.4}), 1);
  EXPECT_EQ(Sample({.logits = {1, kInfinity, 2, kInfinity}, .temperature = 1, .uniform = 0.6}), 3);
  EXPECT_EQ(Sample({.logits = {-kInfinity, 0, -kInfinity}, .temperature = 1, .uniform = 0.99}), 1);
  EXPECT_EQ(Sample({.logits = {-kInfinity, -kInfinity}, .temperature = 1, .uniform = 0.99}), 1);
}

TEST_F(SampleTest, ACandidateThatIsNaNIsAnInternalError) {
  const float logits[] = {1, std::nanf(""), 2};
  EXPECT_EQ(StatusOf({.logits = logits}).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(StatusOf({.logits = logits, .temperature = 1}).code(), absl::StatusCode::kInternal);
  const int32_t allowed[] = {0, 2};
  EXPECT_EQ(Sample({.logits = logits, .allowed = allowed}), 2);
}

TEST_F(SampleTest, RefusesArgumentsOutsideTheirRanges) {
  ExpectInvalid(StatusOf({}), "there are no logits");
  ExpectInvalid(StatusOf({.logits = {1, 2}, .temperature = -1}), "temperature is -1");
  ExpectInvalid(StatusOf({.logits = {1, 2}, .temperature = std::nanf("")}), "temperature is nan");
  ExpectInvalid(StatusOf({.logits = {1, 2}, .top_p = 0}), "top_p is 0");
  ExpectInvalid(StatusOf({.logits = {1, 2}, .top_p = 1.5f}), "top_p is 1.5");
  ExpectInvalid(StatusOf({.logits = {1, 2}, .uniform = 1}), "uniform is 1");
  const int32_t outside[] = {0, 2};
  ExpectInvalid(StatusOf({.logits = {1, 2}, .allowed = outside}), "allowed id 2 at 1");
  const int32_t twice[] = {1, 1};
  ExpectInvalid(StatusOf({.logits = {1, 2}, .allowed = twice}), "allowed id 1 at 1");
  ExpectNoCudaPath(SampleToken({DeviceKind::kCuda, nullptr}, {}).status(), "SampleToken");
}

}  // namespace
}  // namespace msa::kernels
