#include "kernels/ops/matmul.h"

#include <cmath>
#include <limits>

#include "tests/kernels/ops/naive_ops.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

struct Problem {
  int64_t m;
  int64_t n;
  int64_t k;
};

class MatMulTest : public OpTest {
 protected:
  std::vector<float> Multiply(const OpContext& context, const std::vector<float>& input,
                              const Stored& weight, const Problem& size, ComputeDType compute) {
    std::vector<float> output(static_cast<size_t>(size.m * size.n));
    const absl::Status status =
        MatMul(context, {.input = {input.data(), {size.m, size.k}},
                         .weight = {weight.data(), weight.dtype, size.n, size.k},
                         .output = {output.data(), {size.m, size.n}},
                         .compute = compute});
    EXPECT_TRUE(status.ok()) << status;
    return output;
  }
};

TEST_P(MatMulTest, MultipliesTheHandWorkedCase) {
  const std::vector<float> input = {1, 2, 3, 4, 5, 6};  // [2, 3]
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Stored weight(dtype, {1, 0, 0, 0, 1, 1, 2, -1, 0.5, 0, 0, 0});  // [4, 3]
    for (const ComputeDType compute : {ComputeDType::kF32, ComputeDType::kBF16}) {
      EXPECT_EQ(Multiply(context(), input, weight, {2, 4, 3}, compute),
                (std::vector<float>{1, 5, 1.5, 0, 4, 11, 6, 0}));
    }
  }
}

TEST_P(MatMulTest, EqualsTheNaiveTwinOverOddSizes) {
  const Problem sizes[] = {{1, 1, 1},     {1, 9, 33},   {2, 3, 31},    {3, 5, 17},
                           {4, 4, 64},    {5, 31, 127}, {6, 7, 63},    {7, 8, 129},
                           {13, 257, 65}, {65, 33, 96}, {300, 21, 70}, {1, 700, 1030}};
  for (const Problem& size : sizes) {
    const std::vector<float> input = Random(size.m * size.k);
    const std::vector<float> values = RandomBF16(size.n * size.k);
    // Rounding errors of f32 sums of k products of magnitude about 1.
    const double f32_error = 1e-6 * std::sqrt(static_cast<double>(size.k)) + 1e-6;
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Stored weight(dtype, values);
      ExpectClose(Multiply(context(), input, weight, size, ComputeDType::kF32),
                  naive::MatMul(naive::Widen(input), naive::Widen(values), size.m, size.n, size.k),
                  f32_error, 1e-5);
      std::vector<float> rounded = input;
      for (float& value : rounded) value = ToF32(ToBF16(value));
      ExpectClose(
          Multiply(context(), input, weight, size, ComputeDType::kBF16),
          naive::MatMul(naive::Widen(rounded), naive::Widen(values), size.m, size.n, size.k),
          f32_error, 1e-5);
    }
  }
}

TEST_P(MatMulTest, EachOfSeveralProductsEqualsTheProductAlone) {
  for (const int64_t m : {1, 7, 300}) {
    const int64_t k = 70;
    const std::vector<float> input = Random(m * k);
    std::vector<Stored> weights;
    std::vector<std::vector<float>> outputs, expected;
    std::vector<MatMulProduct> products;
    // More than are taken at a time, both dtypes, one without rows, one that adds.
    for (int64_t i = 0; i < 22; ++i) {
      const int64_t n = i == 4 ? 0 : 5 + 17 * i;
      weights.emplace_back(i == 11 ? DType::kF32 : DType::kBF16, Random(n * k));
      expected.push_back(
          Multiply(one_thread(), input, weights.back(), {m, n, k}, ComputeDType::kBF16));
      outputs.emplace_back(expected.back().size(), i == 6 ? 1.0f : 0.0f);
    }
    for (size_t i = 0; i < weights.size(); ++i) {
      const int64_t n = static_cast<int64_t>(outputs[i].size()) / m;
      products.push_back(
          {{weights[i].data(), weights[i].dtype, n, k}, {outputs[i].data(), {m, n}}, i == 6});
    }
    ASSERT_TRUE(MatMulEach(context(), {input.data(), {m, k}}, products, ComputeDType::kBF16).ok());
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (i == 6) {
        for (float& value : expected[i]) value += 1.0f;
      }
      EXPECT_TRUE(SameBits(outputs[i], expected[i])) << "product " << i << " of " << m << " rows";
    }
  }
}

// Rows that do not fit the first-level cache are multiplied in two parts and more. Small whole
// numbers have exact sums in f32 in any order, so that nothing may be left out or taken twice.
TEST_P(MatMulTest, LongRowsOfWholeNumbersEqualTheNaiveTwinExactly) {
  const Problem sizes[] = {{2, 9, 3105},    {3, 5, 2081},  {4, 7, 3103},
                           {5, 67, 2467},   {6, 13, 2081}, {7, 70, 3103},
                           {13, 131, 4101}, {2, 9, 16500}, {100, 19, 3105}};
  for (const Problem& size : sizes) {
    const std::vector<float> input = WholeNumbers(size.m * size.k);
    const std::vector<float> values = WholeNumbers(size.n * size.k);
    const naive::Doubles expected =
        naive::MatMul(naive::Widen(input), naive::Widen(values), size.m, size.n, size.k);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Stored weight(dtype, values);
      for (const ComputeDType compute : {ComputeDType::kF32, ComputeDType::kBF16}) {
        EXPECT_EQ(naive::Widen(Multiply(context(), input, weight, size, compute)), expected);
      }
    }
  }
}

TEST_P(MatMulTest, ARowAloneEqualsTheSameRowInABatchBitwise) {
  // Rows of 3103 are multiplied in parts in a batch, but not alone.
  for (const Problem& size :
       {Problem{301, 45, 165}, Problem{13, 70, 3103}, Problem{97, 23, 2081}}) {
    const std::vector<float> input = Random(size.m * size.k);
    const std::vector<float> values = Random(size.n * size.k);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Stored weight(dtype, values);
      for (const ComputeDType compute : {ComputeDType::kF32, ComputeDType::kBF16}) {
        const std::vector<float> batch = Multiply(context(), input, weight, size, compute);
        EXPECT_TRUE(SameBits(batch, Multiply(one_thread(), input, weight, size, compute)));
        for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 11}) {
          for (const int64_t first : {0, 1, 2, 5, 12, 254, 289}) {
            if (first + rows > size.m) continue;
            const auto begin = input.begin() + first * size.k;
            const std::vector<float> some(begin, begin + rows * size.k);
            const std::vector<float> output =
                Multiply(context(), some, weight, {rows, size.n, size.k}, compute);
            EXPECT_TRUE(
                SameBits(output.data(), &batch[static_cast<size_t>(first * size.n)], output.size()))
                << rows << " rows from " << first << " of " << size.m;
          }
        }
      }
    }
  }
}

TEST_P(MatMulTest, AnOutputColumnDoesNotDependOnItsNeighboursBitwise) {
  const Problem size{7, 37, 100};
  const std::vector<float> input = Random(size.m * size.k);
  const std::vector<float> values = Random(size.n * size.k);
  for (const ComputeDType compute : {ComputeDType::kF32, ComputeDType::kBF16}) {
    const std::vector<float> all =
        Multiply(context(), input, Stored(DType::kBF16, values), size, compute);
    for (int64_t n = 0; n < size.n; ++n) {
      const auto begin = values.begin() + n * size.k;
      const Stored column(DType::kBF16, {begin, begin + size.k});
      const std::vector<float> alone =
          Multiply(context(), input, column, {size.m, 1, size.k}, compute);
      for (int64_t m = 0; m < size.m; ++m) {
        EXPECT_TRUE(
            SameBits(&alone[static_cast<size_t>(m)], &all[static_cast<size_t>(m * size.n + n)], 1));
      }
    }
  }
}

TEST_P(MatMulTest, AddsToTheOutputWhenAsked) {
  for (const Problem& size : {Problem{7, 13, 40}, Problem{7, 13, 3103}}) {
    const std::vector<float> input = Random(size.m * size.k);
    const Stored weight(DType::kBF16, Random(size.n * size.k));
    const std::vector<float> residual = Random(size.m * size.n);
    const std::vector<float> product =
        Multiply(context(), input, weight, size, ComputeDType::kBF16);
    std::vector<float> output = residual;
    ASSERT_TRUE(MatMul(context(), {.input = {input.data(), {size.m, size.k}},
                                   .weight = {weight.data(), weight.dtype, size.n, size.k},
                                   .output = {output.data(), {size.m, size.n}},
                                   .add_to_output = true,
                                   .compute = ComputeDType::kBF16})
                    .ok());
    for (size_t i = 0; i < output.size(); ++i) EXPECT_EQ(output[i], residual[i] + product[i]);
  }
}

TEST_P(MatMulTest, ReadsWeightsAtAnyAddress) {
  // A checkpoint's tensors need not be aligned to their elements.
  const Problem size{2, 3, 35};
  const std::vector<float> input = Random(size.m * size.k);
  const std::vector<float> values = RandomBF16(size.n * size.k);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Stored weight(dtype, values);
    const size_t bytes = values.size() * SizeOf(dtype);
    std::vector<char> shifted(bytes + 1);
    std::memcpy(shifted.data() + 1, weight.data(), bytes);
    std::vector<float> output(6);
    ASSERT_TRUE(MatMul(context(), {.input = {input.data(), {size.m, size.k}},
                                   .weight = {shifted.data() + 1, dtype, size.n, size.k},
                                   .output = {output.data(), {size.m, size.n}}})
                    .ok());
    EXPECT_TRUE(SameBits(output, Multiply(context(), input, weight, size, ComputeDType::kF32)));
  }
}

TEST_P(MatMulTest, LargeValuesOverflowAndNaNSpreadsToItsRowOnly) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> input = {3e38f, 3e38f, std::nanf(""), 1.0f, 1e-30f, 0.0f};  // [3, 2]
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const std::vector<float> output =
        Multiply(context(), input, Stored(dtype, {1, 1}), {3, 1, 2}, ComputeDType::kBF16);
    EXPECT_EQ(output[0], kInfinity);
    EXPECT_TRUE(std::isnan(output[1]));
    EXPECT_EQ(output[2], ToF32(ToBF16(1e-30f)));
  }
}

TEST_P(MatMulTest, NoRowsIsANoOp) {
  const Stored weight(DType::kF32, {1, 2});
  EXPECT_TRUE(MatMul(context(), {.input = {nullptr, {0, 2}},
                                 .weight = {weight.data(), DType::kF32, 1, 2},
                                 .output = {nullptr, {0, 1}}})
                  .ok());
}

TEST_P(MatMulTest, RefusesShapesThatDoNotFit) {
  std::vector<float> values(64);
  const MatMulArgs good{.input = {values.data(), {2, 3}},
                        .weight = {values.data(), DType::kF32, 4, 3},
                        .output = {values.data() + 32, {2, 4}}};
  ASSERT_TRUE(MatMul(context(), good).ok());
  MatMulArgs args = good;
  args.weight.columns = 2;
  ExpectInvalid(MatMul(context(), args), "MatMul: input [2, 3], weight [4, 2] and output [2, 4]");
  args = good;
  args.output.shape = {3, 4};
  ExpectInvalid(MatMul(context(), args), "output [3, 4]");
  args = good;
  args.weight.dtype = DType::kF16;
  ExpectInvalid(MatMul(context(), args), "weight is f16; f32 and bf16 are supported");
  args = good;
  args.weight.data = nullptr;
  ExpectInvalid(MatMul(context(), args), "weight has no data");
  args = good;
  args.input.data = nullptr;
  ExpectInvalid(MatMul(context(), args), "input [2, 3] has no data");
  args = good;
  args.input.shape = {-1, 3};
  ExpectInvalid(MatMul(context(), args), "input has shape [-1, 3]");
  ExpectInvalid(MatMul({DeviceKind::kCpu, nullptr}, good), "pool is null");
  ExpectNoCudaPath(MatMul({DeviceKind::kCuda, nullptr}, good), "MatMul");
}

MSA_ON_EVERY_LEVEL(MatMulTest);

}  // namespace
}  // namespace msa::kernels
