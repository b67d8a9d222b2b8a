#include "kernels/ops/router_query.h"

#include <cmath>

#include "tests/kernels/ops/naive_ops.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class RouterQueryTest : public OpTest {
 protected:
  std::vector<float> Run(const std::vector<float>& heads, int64_t num_heads, int64_t num_kv_heads,
                         int64_t head_dim, bool normalize, bool sum_groups) {
    const int64_t rows = static_cast<int64_t>(heads.size()) / (num_heads * head_dim);
    const int64_t columns = (sum_groups ? num_kv_heads : num_heads) * head_dim;
    const DeviceArray<float> input = OnDevice(heads);
    const DeviceArray<float> output =
        OnDevice(std::vector<float>(static_cast<size_t>(rows * columns), 99.0f));
    const absl::Status status =
        RouterQuery(context(), {.heads = {input.data(), {rows, num_heads, head_dim}},
                                .normalize = normalize,
                                .sum_groups = sum_groups,
                                .num_kv_heads = num_kv_heads,
                                .output = {output.data(), {rows, columns}}});
    EXPECT_TRUE(status.ok()) << status;
    return output.Values();
  }
};

TEST_P(RouterQueryTest, SumsTheHandWorkedCase) {
  // Four heads of two dimensions, two KV heads.
  const std::vector<float> heads = {3, 4, 0, 2, 8, 6, 0, 0};
  EXPECT_EQ(Run(heads, 4, 2, 2, true, true), (std::vector<float>{0.15f, 0.45f, 0.2f, 0.15f}));
  EXPECT_EQ(Run(heads, 4, 2, 2, false, true), (std::vector<float>{0.75f, 1.5f, 2, 1.5f}));
  EXPECT_EQ(Run(heads, 4, 2, 2, true, false),
            (std::vector<float>{0.6f, 0.8f, 0, 1, 0.8f, 0.6f, 0, 0}));
}

TEST_P(RouterQueryTest, EqualsTheNaiveTwinOverOddSizes) {
  for (const int64_t head_dim : {1, 7, 16, 45, 128}) {
    const int64_t num_heads = 6;
    const int64_t num_kv_heads = 3;
    const auto heads = Random(70 * num_heads * head_dim);
    std::vector<double> expected;
    for (size_t t = 0; t < 70; ++t) {
      std::vector<double> row(static_cast<size_t>(num_kv_heads * head_dim), 0.0);
      for (size_t h = 0; h < 6; ++h) {
        const auto begin = heads.begin() + static_cast<int64_t>(t * 6 + h) * head_dim;
        std::vector<double> head(begin, begin + head_dim);
        naive::Normalize(head.data(), head_dim);
        for (size_t i = 0; i < head.size(); ++i) row[h / 2 * head.size() + i] += head[i] / 6.0;
      }
      expected.insert(expected.end(), row.begin(), row.end());
    }
    ExpectClose(Run(heads, num_heads, num_kv_heads, head_dim, true, true), expected, 1e-7, 1e-5);
  }
}

TEST_P(RouterQueryTest, ARowAloneEqualsTheSameRowInABatchBitwise) {
  const int64_t row = 4 * 33;
  const auto heads = Random(300 * row);
  const std::vector<float> batch = Run(heads, 4, 2, 33, true, true);
  for (const int64_t t : {0, 123, 299}) {
    const std::vector<float> alone =
        Run({heads.begin() + t * row, heads.begin() + (t + 1) * row}, 4, 2, 33, true, true);
    EXPECT_TRUE(
        SameBits(alone.data(), &batch[static_cast<size_t>(t) * alone.size()], alone.size()));
  }
}

TEST_P(RouterQueryTest, RefusesShapesThatDoNotFit) {
  const DeviceArray<float> values = OnDevice(std::vector<float>(24));
  const RouterQueryArgs good{.heads = {values.data(), {1, 4, 3}},
                             .num_kv_heads = 2,
                             .output = {values.data() + 12, {1, 6}}};
  ASSERT_TRUE(RouterQuery(context(), good).ok());
  RouterQueryArgs args = good;
  args.num_kv_heads = 3;
  ExpectInvalid(RouterQuery(context(), args), "heads [1, 4, 3] cannot be shared by 3 KV heads");
  args = good;
  args.sum_groups = false;
  ExpectInvalid(RouterQuery(context(), args), "output [1, 6] is not [1, 12]");
}

MSA_ON_EVERY_DEVICE(RouterQueryTest);

}  // namespace
}  // namespace msa::kernels
