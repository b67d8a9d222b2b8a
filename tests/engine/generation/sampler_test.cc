#include "engine/generation/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "kernels/core/thread_pool.h"

namespace msa::engine {
namespace {

constexpr float kLogits[] = {0.0f, 1.0f, 1.0f, 0.5f};

std::vector<int32_t> Sample(const SamplingParams& params, const std::vector<int32_t>& allowed,
                            int num_tokens) {
  kernels::ThreadPool pool(1);
  Sampler sampler(params);
  std::vector<int32_t> ids;
  for (int i = 0; i < num_tokens; ++i) {
    const auto id = sampler.Choose({kernels::DeviceKind::kCpu, &pool}, kLogits, allowed);
    EXPECT_TRUE(id.ok()) << id.status();
    ids.push_back(*id);
  }
  return ids;
}

TEST(SamplerTest, GreedyTakesTheLargestLogitAndTheLowerIdOnTies) {
  EXPECT_THAT(Sample({}, {}, 3), testing::ElementsAre(1, 1, 1));
  EXPECT_THAT(Sample({}, {0, 3}, 2), testing::ElementsAre(3, 3));
}

TEST(SamplerTest, TheSameSeedGivesTheSameTokens) {
  const SamplingParams params{.temperature = 1, .top_p = 1, .seed = 42};
  const std::vector<int32_t> ids = Sample(params, {}, 200);
  EXPECT_EQ(ids, Sample(params, {}, 200));
  EXPECT_NE(ids, Sample({.temperature = 1, .top_p = 1, .seed = 43}, {}, 200));
  EXPECT_THAT(std::set<int32_t>(ids.begin(), ids.end()), testing::ElementsAre(0, 1, 2, 3));
}

TEST(SamplerTest, OnlyAllowedTokensAreChosen) {
  for (int32_t id : Sample({.temperature = 5, .top_p = 1, .seed = 1}, {0, 2}, 100)) {
    EXPECT_TRUE(id == 0 || id == 2);
  }
}

TEST(SamplerTest, UniformsAreEvenAndInRange) {
  for (uint64_t seed : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}, uint64_t{0x9E3779B97F4A7C15}}) {
    std::vector<int> buckets(16);
    for (uint64_t i = 0; i < 16000; ++i) {
      const double u = UniformForToken(seed, i);
      ASSERT_GE(u, 0.0);
      ASSERT_LT(u, 1.0);
      ++buckets[static_cast<size_t>(u * 16)];
    }
    for (int count : buckets) EXPECT_NEAR(count, 1000, 150) << seed;  // about 5 standard deviations
  }
}

TEST(SamplerTest, SeedsShareNoShiftedSequence) {
  EXPECT_NE(UniformForToken(0, 1), UniformForToken(0x9E3779B97F4A7C15, 0));
  EXPECT_NE(UniformForToken(0, 0), UniformForToken(1, 0));
}

TEST(SamplerTest, UniformsArePinned) {
  // The same seed must give the same tokens in later versions. Values from the formula in Python.
  EXPECT_DOUBLE_EQ(UniformForToken(0, 0), 0.6524484863740322);
  EXPECT_DOUBLE_EQ(UniformForToken(42, 7), 0.7347204584623639);
  EXPECT_DOUBLE_EQ(UniformForToken(~uint64_t{0}, ~uint64_t{0}), 0.2668471864940366);
}

}  // namespace
}  // namespace msa::engine
