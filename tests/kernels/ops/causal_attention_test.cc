#include "kernels/ops/causal_attention.h"

#include <cmath>

#include "tests/kernels/ops/naive_ops.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class CausalAttentionTest : public OpTest {
 protected:
  int64_t num_heads_ = 4;
  int64_t num_kv_heads_ = 2;
  int64_t head_dim_ = 22;

  struct Rows {
    std::vector<float> query;
    std::vector<float> key;
    std::vector<float> value;
  };

  int64_t Width() const { return num_kv_heads_ * head_dim_; }
  Rows RandomRows(int64_t count) {
    return {Random(count * num_heads_ * head_dim_), Random(count * Width()),
            Random(count * Width())};
  }

  CausalAttentionArgs Args(const Rows& rows, absl::Span<const int64_t> offsets, int64_t begin,
                           int64_t end, std::vector<float>& output) const {
    const int64_t count = static_cast<int64_t>(rows.key.size()) / Width();
    output.assign(static_cast<size_t>((end - begin) * num_heads_ * head_dim_), -1.0f);
    return {.query = {rows.query.data(), {count, num_heads_, head_dim_}},
            .key = {rows.key.data(), {count, num_kv_heads_, head_dim_}},
            .value = {rows.value.data(), {count, num_kv_heads_, head_dim_}},
            .doc_offsets = offsets,
            .row_begin = begin,
            .row_end = end,
            .scale = 0.3f,
            .output = {output.data(), {end - begin, num_heads_, head_dim_}}};
  }

  std::vector<float> Run(const OpContext& context, const Rows& rows,
                         absl::Span<const int64_t> offsets, int64_t begin, int64_t end) const {
    std::vector<float> output;
    const absl::Status status = CausalAttention(context, Args(rows, offsets, begin, end, output));
    EXPECT_TRUE(status.ok()) << status;
    return output;
  }

  naive::Doubles Naive(const Rows& rows, absl::Span<const int64_t> offsets) const {
    naive::Doubles output;
    for (size_t document = 0; document + 1 < offsets.size(); ++document) {
      for (int64_t t = offsets[document]; t < offsets[document + 1]; ++t) {
        for (int64_t h = 0; h < num_heads_; ++h) {
          const int64_t g = h / (num_heads_ / num_kv_heads_);
          std::vector<naive::Doubles> keys;
          std::vector<naive::Doubles> values;
          for (int64_t row = offsets[document]; row <= t; ++row) {
            const auto offset = row * Width() + g * head_dim_;
            keys.emplace_back(rows.key.begin() + offset, rows.key.begin() + offset + head_dim_);
            values.emplace_back(rows.value.begin() + offset,
                                rows.value.begin() + offset + head_dim_);
          }
          const auto begin = rows.query.begin() + (t * num_heads_ + h) * head_dim_;
          const naive::Doubles row =
              naive::AttendRow({begin, begin + head_dim_}, keys, values, 0.3f);
          output.insert(output.end(), row.begin(), row.end());
        }
      }
    }
    return output;
  }
};

TEST_P(CausalAttentionTest, AveragesTheHandWorkedCase) {
  num_heads_ = num_kv_heads_ = 1;
  head_dim_ = 2;
  // Zero queries: a row is the mean of its document's values up to itself.
  const Rows rows{std::vector<float>(8, 0.0f), {1, 2, 3, 4, 5, 6, 7, 8}, {2, 0, 4, 2, 9, 9, 1, 1}};
  const int64_t offsets[] = {0, 2, 4};
  EXPECT_EQ(Run(context(), rows, offsets, 0, 4), (std::vector<float>{2, 0, 3, 1, 9, 9, 5, 5}));
}

TEST_P(CausalAttentionTest, EqualsTheNaiveTwinOverRaggedDocuments) {
  for (const int64_t head_dim : {2, 16, 22, 64, 128}) {
    head_dim_ = head_dim;
    const int64_t offsets[] = {0, 1, 1, 6, 70, 211};
    const Rows rows = RandomRows(211);
    ExpectClose(Run(context(), rows, offsets, 0, 211), Naive(rows, offsets), 5e-6, 2e-5);
  }
}

TEST_P(CausalAttentionTest, ARowDoesNotDependOnCompanySliceOrThreadsBitwise) {
  const int64_t offsets[] = {0, 40, 41, 200};
  const Rows rows = RandomRows(200);
  const std::vector<float> all = Run(context(), rows, offsets, 0, 200);
  EXPECT_TRUE(SameBits(all, Run(one_thread(), rows, offsets, 0, 200)));
  const auto row_size = static_cast<size_t>(num_heads_ * head_dim_);
  const int64_t cuts[] = {0, 1, 39, 45, 46, 100, 131, 200};
  for (size_t i = 0; i + 1 < std::size(cuts); ++i) {
    const std::vector<float> slice = Run(context(), rows, offsets, cuts[i], cuts[i + 1]);
    EXPECT_TRUE(
        SameBits(slice.data(), &all[static_cast<size_t>(cuts[i]) * row_size], slice.size()));
  }
  const int64_t alone_offsets[] = {0, 159};
  const Rows alone{{rows.query.begin() + 41 * num_heads_ * head_dim_, rows.query.end()},
                   {rows.key.begin() + 41 * Width(), rows.key.end()},
                   {rows.value.begin() + 41 * Width(), rows.value.end()}};
  const std::vector<float> document = Run(context(), alone, alone_offsets, 0, 159);
  EXPECT_TRUE(SameBits(document.data(), &all[41 * row_size], document.size()));
}

TEST_P(CausalAttentionTest, NoRowsIsANoOp) {
  const Rows rows = RandomRows(3);
  const int64_t offsets[] = {0, 3};
  EXPECT_TRUE(Run(context(), rows, offsets, 2, 2).empty());
  const int64_t nothing[] = {0};
  EXPECT_TRUE(Run(context(), RandomRows(0), nothing, 0, 0).empty());
}

TEST_P(CausalAttentionTest, RefusesArgumentsThatDoNotFit) {
  const Rows rows = RandomRows(5);
  const int64_t offsets[] = {0, 2, 5};
  std::vector<float> output;
  const auto status_of = [&](auto change) {
    CausalAttentionArgs args = Args(rows, offsets, 1, 4, output);
    change(args);
    return CausalAttention(context(), args);
  };
  ASSERT_TRUE(status_of([](auto&) {}).ok());
  ExpectInvalid(status_of([](auto& args) { args.key.shape[1] = args.value.shape[1] = 3; }),
                "key [5, 3, 22]");
  ExpectInvalid(status_of([](auto& args) { args.value.shape[0] = 4; }), "value [4, 2, 22]");
  ExpectInvalid(status_of([](auto& args) { args.row_end = 6; }), "rows [1, 6) of 5");
  ExpectInvalid(status_of([](auto& args) { args.output.shape[0] = 2; }), "with output [2, 4, 22]");
  const int64_t wrong[] = {0, 4};
  ExpectInvalid(status_of([&](auto& args) { args.doc_offsets = wrong; }),
                "doc_offsets ends with 4");
  ExpectNoCudaPath(CausalAttention({DeviceKind::kCuda, nullptr}, {}), "CausalAttention");
}

MSA_ON_EVERY_LEVEL(CausalAttentionTest);

}  // namespace
}  // namespace msa::kernels
