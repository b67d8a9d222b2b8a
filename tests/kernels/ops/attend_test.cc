#include "kernels/ops/attend.h"

#include <cmath>
#include <limits>
#include <memory>

#include "kernels/ops/gather_memory.h"
#include "tests/kernels/ops/naive_ops.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

// Keys and values of one sequence and layer, spread over pages as the engine does it.
class Pages {
 public:
  Pages(const OpContext& context, const KvPageShape& shape, const std::vector<float>& keys,
        const std::vector<float>& values) {
    const int64_t num_rows =
        static_cast<int64_t>(keys.size()) / (shape.num_kv_heads * shape.head_dim);
    const int64_t num_pages = (num_rows + shape.rows_per_page - 1) / shape.rows_per_page;
    std::vector<void*> pages;
    for (int64_t i = 0; i < num_pages; ++i) {
      // Unused rows hold NaN, which must not reach a result.
      memory_.emplace_back(static_cast<size_t>(shape.bytes()), '\xff');
      pages.push_back(memory_.back().data());
      spans_.push_back(
          {pages.back(), static_cast<int32_t>(
                             std::min(shape.rows_per_page, num_rows - i * shape.rows_per_page))});
    }
    const absl::Status status = StoreLocal(
        context, {.key = {keys.data(), {num_rows, shape.num_kv_heads, shape.head_dim}},
                  .value = {values.data(), {num_rows, shape.num_kv_heads, shape.head_dim}},
                  .shape = shape,
                  .pages = pages});
    EXPECT_TRUE(status.ok()) << status;
  }
  absl::Span<const KvSpan> spans() const { return spans_; }

 private:
  std::vector<std::vector<char>> memory_;
  std::vector<KvSpan> spans_;
};

class AttendTest : public OpTest {
 protected:
  KvPageShape shape_{2, 16, 24, DType::kBF16};
  int64_t num_heads_ = 6;

  int64_t Width() const { return shape_.num_kv_heads * shape_.head_dim; }

  std::vector<float> Run(const OpContext& context, const std::vector<float>& query,
                         absl::Span<const AttendGroup> groups, float scale = 0.2f) {
    const int64_t rows = static_cast<int64_t>(query.size()) / (num_heads_ * shape_.head_dim);
    std::vector<float> output(query.size(), -1.0f);
    const absl::Status status =
        Attend(context, {.query = {query.data(), {rows, num_heads_, shape_.head_dim}},
                         .shape = shape_,
                         .groups = groups,
                         .scale = scale,
                         .output = {output.data(), {rows, num_heads_, shape_.head_dim}}});
    EXPECT_TRUE(status.ok()) << status;
    return output;
  }

  // Row r of `keys` [rows, Hkv, D] for one KV head.
  naive::Doubles Row(const std::vector<float>& keys, int64_t row, int64_t kv_head) const {
    const auto begin = keys.begin() + row * Width() + kv_head * shape_.head_dim;
    return {begin, begin + shape_.head_dim};
  }

  naive::Doubles Naive(const std::vector<float>& query, const std::vector<float>& shared_keys,
                       const std::vector<float>& shared_values,
                       const std::vector<float>& local_keys, const std::vector<float>& local_values,
                       const std::vector<int32_t>& visible, double scale) const {
    naive::Doubles output;
    const int64_t num_shared = static_cast<int64_t>(shared_keys.size()) / Width();
    for (size_t t = 0; t < visible.size(); ++t) {
      for (int64_t h = 0; h < num_heads_; ++h) {
        const int64_t g = h / (num_heads_ / shape_.num_kv_heads);
        std::vector<naive::Doubles> keys;
        std::vector<naive::Doubles> values;
        for (int64_t row = 0; row < num_shared; ++row) {
          keys.push_back(Row(shared_keys, row, g));
          values.push_back(Row(shared_values, row, g));
        }
        for (int64_t row = 0; row < visible[t]; ++row) {
          keys.push_back(Row(local_keys, row, g));
          values.push_back(Row(local_values, row, g));
        }
        const auto begin =
            query.begin() + (static_cast<int64_t>(t) * num_heads_ + h) * shape_.head_dim;
        const naive::Doubles row =
            naive::AttendRow({begin, begin + shape_.head_dim}, keys, values, scale);
        output.insert(output.end(), row.begin(), row.end());
      }
    }
    return output;
  }
};

TEST_P(AttendTest, AveragesTheHandWorkedCase) {
  shape_ = {1, 4, 2, DType::kF32};
  num_heads_ = 1;
  // Equal scores: the plain mean of the values seen.
  const Pages shared(context(), shape_, {0, 0}, {6, 0});
  const Pages local(context(), shape_, {0, 0, 0, 0}, {0, 3, 3, 3});
  const std::vector<int32_t> visible = {0, 1, 2};
  const AttendGroup group{0, 3, shared.spans(), local.spans(), visible};
  EXPECT_EQ(Run(context(), {1, 2, 3, 4, 5, 6}, {&group, 1}),
            (std::vector<float>{6, 0, 3, 1.5, 3, 2}));
}

TEST_P(AttendTest, EqualsTheNaiveTwinOverOddSizes) {
  for (const int64_t head_dim : {2, 10, 16, 24, 64, 128, 130, 256}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const int64_t rows_per_page : {7, 64, 150}) {
        shape_ = {2, rows_per_page, head_dim, dtype};
        const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
        const int64_t num_rows = 19;
        const int64_t num_local = 140;
        const auto query = Random(num_rows * num_heads_ * head_dim);
        const auto shared_keys = RandomBF16(37 * Width());
        const auto shared_values = RandomBF16(37 * Width());
        const auto local_keys = RandomBF16(num_local * Width());
        const auto local_values = RandomBF16(num_local * Width());
        const Pages shared(context(), shape_, shared_keys, shared_values);
        const Pages local(context(), shape_, local_keys, local_values);
        std::vector<int32_t> visible;
        for (int64_t t = 0; t < num_rows; ++t)
          visible.push_back(static_cast<int32_t>(num_local - num_rows + t + 1));
        const AttendGroup group{0, num_rows, shared.spans(), local.spans(), visible};
        ExpectClose(
            Run(context(), query, {&group, 1}, scale),
            Naive(query, shared_keys, shared_values, local_keys, local_values, visible, scale),
            3e-6, 1e-5);
      }
    }
  }
}

TEST_P(AttendTest, ARowDoesNotDependOnItsGroupSliceOrThreadsBitwise) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t rows_per_page : {16, 100}) {
      shape_ = {2, rows_per_page, 40, dtype};
      const int64_t num_rows = 77;
      const auto query = Random(num_rows * num_heads_ * shape_.head_dim);
      const Pages shared(context(), shape_, Random(29 * Width()), Random(29 * Width()));
      const auto keys = Random(num_rows * Width());
      const auto values = Random(num_rows * Width());
      const Pages local(context(), shape_, keys, values);
      std::vector<int32_t> visible;
      for (int32_t t = 1; t <= num_rows; ++t) visible.push_back(t);
      const AttendGroup group{0, num_rows, shared.spans(), local.spans(), visible};
      const std::vector<float> prefill = Run(context(), query, {&group, 1});
      EXPECT_TRUE(SameBits(prefill, Run(one_thread(), query, {&group, 1})));

      std::vector<AttendGroup> slices;
      const int64_t cuts[] = {0, 1, 2, 20, 33, 34, 77};
      for (size_t i = 0; i + 1 < std::size(cuts); ++i) {
        const auto begin = static_cast<size_t>(cuts[i]);
        slices.push_back({cuts[i], cuts[i + 1], shared.spans(), local.spans(),
                          absl::MakeConstSpan(visible).subspan(
                              begin, static_cast<size_t>(cuts[i + 1]) - begin)});
      }
      EXPECT_TRUE(SameBits(prefill, Run(context(), query, slices)));

      // Decoding: a row alone, when no later row exists yet.
      const int64_t row_size = num_heads_ * shape_.head_dim;
      for (const int64_t t : {0, 15, 16, 50, 76}) {
        const auto width = (t + 1) * Width();
        const Pages so_far(context(), shape_, {keys.begin(), keys.begin() + width},
                           {values.begin(), values.begin() + width});
        const std::vector<int32_t> sees = {static_cast<int32_t>(t + 1)};
        const AttendGroup alone{0, 1, shared.spans(), so_far.spans(), sees};
        const std::vector<float> row(query.begin() + t * row_size,
                                     query.begin() + (t + 1) * row_size);
        const std::vector<float> output = Run(context(), row, {&alone, 1});
        EXPECT_TRUE(
            SameBits(output.data(), &prefill[static_cast<size_t>(t * row_size)], output.size()))
            << "row " << t;
      }
    }
  }
}

TEST_P(AttendTest, GroupsOfOneCallSeeTheirOwnSpansOnly) {
  const auto query = Random(2 * num_heads_ * shape_.head_dim);
  const auto keys = RandomBF16(20 * Width());
  const auto values = RandomBF16(20 * Width());
  const auto other_keys = RandomBF16(5 * Width());
  const auto other_values = RandomBF16(5 * Width());
  const Pages first(context(), shape_, keys, values);
  const Pages second(context(), shape_, other_keys, other_values);
  const std::vector<int32_t> sees_first = {20};
  const std::vector<int32_t> sees_second = {4};
  const AttendGroup groups[] = {{0, 1, {}, first.spans(), sees_first},
                                {1, 2, {}, second.spans(), sees_second}};
  const std::vector<float> output = Run(context(), query, groups);
  const auto middle = query.begin() + num_heads_ * shape_.head_dim;
  naive::Doubles expected = Naive({query.begin(), middle}, {}, {}, keys, values, sees_first, 0.2);
  const naive::Doubles rest =
      Naive({middle, query.end()}, {}, {}, other_keys, other_values, sees_second, 0.2);
  expected.insert(expected.end(), rest.begin(), rest.end());
  ExpectClose(output, expected, 3e-6, 1e-5);
}

TEST_P(AttendTest, ARowThatSeesNothingGetsZeros) {
  const auto query = Random(2 * num_heads_ * shape_.head_dim);
  const Pages local(context(), shape_, Random(3 * Width()), Random(3 * Width()));
  const std::vector<int32_t> visible = {0, 3};
  const AttendGroup group{0, 2, {}, local.spans(), visible};
  const std::vector<float> output = Run(context(), query, {&group, 1});
  const auto row = static_cast<size_t>(num_heads_ * shape_.head_dim);
  EXPECT_EQ(std::vector<float>(output.begin(), output.begin() + static_cast<int64_t>(row)),
            std::vector<float>(row, 0.0f));
  EXPECT_NE(output[row], 0.0f);
}

TEST_P(AttendTest, ExtremeScoresDoNotOverflow) {
  shape_ = {1, 4, 2, DType::kF32};
  num_heads_ = 1;
  const std::vector<int32_t> visible = {3};
  // Scores of +infinity, -infinity and 0: the first takes all.
  const Pages local(context(), shape_, {1e30f, 0, -1e30f, 0, 0, 0}, {1, 2, 3, 4, 5, 6});
  const AttendGroup group{0, 1, {}, local.spans(), visible};
  EXPECT_EQ(Run(context(), {1e30f, 0}, {&group, 1}), (std::vector<float>{1, 2}));
  // All of them -infinity: equal shares.
  const Pages low(context(), shape_, {-1e30f, 0, -1e30f, 0, -1e30f, 0}, {1, 2, 3, 4, 5, 6});
  const AttendGroup low_group{0, 1, {}, low.spans(), visible};
  EXPECT_EQ(Run(context(), {1e30f, 0}, {&low_group, 1}), (std::vector<float>{3, 4}));
  // NaN stays visible.
  EXPECT_TRUE(std::isnan(Run(context(), {std::nanf(""), 0}, {&group, 1})[0]));
}

TEST_P(AttendTest, DistantScoresUnderflowToNothing) {
  shape_ = {1, 200, 2, DType::kF32};
  num_heads_ = 1;
  std::vector<float> keys(2 * 130, -200.0f);
  std::vector<float> values(2 * 130, 1000.0f);
  keys[2 * 129] = 0.0f;
  keys[2 * 129 + 1] = 0.0f;
  values[2 * 129] = 1.0f;
  values[2 * 129 + 1] = 2.0f;
  const Pages local(context(), shape_, keys, values);
  const std::vector<int32_t> visible = {130};
  const AttendGroup group{0, 1, {}, local.spans(), visible};
  EXPECT_EQ(Run(context(), {1, 1}, {&group, 1}, 1.0f), (std::vector<float>{1, 2}));
}

TEST_P(AttendTest, RefusesArgumentsThatDoNotFit) {
  const auto query = Random(2 * num_heads_ * shape_.head_dim);
  std::vector<float> output(query.size());
  const Pages local(context(), shape_, Random(3 * Width()), Random(3 * Width()));
  const std::vector<int32_t> visible = {2, 3};
  const auto status_of = [&](auto change) {
    AttendGroup group{0, 2, {}, local.spans(), visible};
    AttendArgs args{.query = {query.data(), {2, num_heads_, shape_.head_dim}},
                    .shape = shape_,
                    .groups = {&group, 1},
                    .output = {output.data(), {2, num_heads_, shape_.head_dim}}};
    change(args, group);
    return Attend(context(), args);
  };
  ASSERT_TRUE(status_of([](auto&, auto&) {}).ok());
  ExpectInvalid(status_of([](auto& args, auto&) { args.shape.num_kv_heads = 4; }),
                "Attend: query [2, 6, 24]");
  ExpectInvalid(status_of([](auto& args, auto&) { args.output.shape[0] = 1; }),
                "output [1, 6, 24]");
  ExpectInvalid(status_of([](auto& args, auto&) { args.shape.dtype = DType::kF16; }),
                "KV pages is f16");
  ExpectInvalid(status_of([](auto&, auto& group) { group.row_end = 3; }), "rows [0, 3) of 2");
  const std::vector<int32_t> too_many = {2, 4};
  ExpectInvalid(status_of([&](auto&, auto& group) { group.visible = too_many; }),
                "a row sees 4 of 3 local rows");
  const KvSpan no_page{nullptr, 1};
  ExpectInvalid(status_of([&](auto&, auto& group) {
                  group.shared_spans = {&no_page, 1};
                }),
                "and no page");
  const KvSpan too_long{output.data(), 17};
  ExpectInvalid(status_of([&](auto&, auto& group) {
                  group.shared_spans = {&too_long, 1};
                }),
                "17 rows of a page of 16");
  ExpectNoCudaPath(Attend({DeviceKind::kCuda, nullptr}, {}), "Attend");
}

MSA_ON_EVERY_LEVEL(AttendTest);

}  // namespace
}  // namespace msa::kernels
