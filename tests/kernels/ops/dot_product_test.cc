// Products of many rows with several groups of stored rows, which the ops' tasks seldom have in
// tests: every product must be right, and the one of its row and stored row alone, bit for bit.
#include "kernels/ops/dot_product.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "kernels/core/aligned_buffer.h"
#include "tests/kernels/ops/modelled_tiles.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

#include "kernels/ops/dot_amx-inl.h"

class DotProductTest : public OpTest {
 protected:
  struct Case {
    size_t num_rows;
    size_t num_stored;
    size_t k;
    DType dtype;
    ComputeDType compute;
  };

  // Every product close to that of the rounded values in f64, and bitwise the same as alone; what
  // lies beside the output stays.
  void Check(const DotKernel& kernel, const Case& c) {
    const size_t out_stride = c.num_stored + 7;
    const Stored stored(c.dtype, Random(static_cast<int64_t>(c.num_stored * c.k)));
    const std::vector<float> rows = Random(static_cast<int64_t>(c.num_rows * c.k));
    const bool round = kernel.round_to_bf16 && c.dtype == DType::kBF16;
    AlignedBuffer buffer, single_buffer;
    auto* const prepared = buffer.Get<std::byte>(kernel.prepared_bytes(c.num_rows, c.k));
    auto* const single = single_buffer.Get<std::byte>(kernel.prepared_bytes(1, c.k));
    for (size_t m = 0; m < c.num_rows; ++m) {
      kernel.prepare_row(rows.data() + m * c.k, c.k, round, m, c.num_rows, prepared);
    }
    const std::vector<float> before = Random(static_cast<int64_t>(c.num_rows * out_stride));
    for (const bool add : {false, true}) {
      std::vector<float> out = before;
      DotBlock block{.prepared = prepared,
                     .num_rows = c.num_rows,
                     .stored = static_cast<const std::byte*>(stored.data()),
                     .stored_stride = c.k * SizeOf(c.dtype),
                     .num_stored = c.num_stored,
                     .k = c.k,
                     .out = out.data(),
                     .out_stride = out_stride,
                     .add = add};
      kernel.multiply(block);
      for (size_t m = 0; m < c.num_rows; m += 3) {
        kernel.prepare_row(rows.data() + m * c.k, c.k, round, 0, 1, single);
        for (size_t n = 0; n < out_stride; n += 7) {
          float expected = before[m * out_stride + n];
          if (n < c.num_stored) {
            float product = 0;
            kernel.multiply({.prepared = single,
                             .num_rows = 1,
                             .stored = block.stored + n * block.stored_stride,
                             .stored_stride = block.stored_stride,
                             .num_stored = 1,
                             .k = c.k,
                             .out = &product,
                             .out_stride = 1});
            double exact = 0, magnitude = 0;
            for (size_t i = 0; i < c.k; ++i) {
              const float x = round ? ToF32(ToBF16(rows[m * c.k + i])) : rows[m * c.k + i];
              const double term = static_cast<double>(x) * Value(stored, n * c.k + i);
              exact += term;
              magnitude += std::abs(term);
            }
            ASSERT_NEAR(product, exact, 1e-6 * magnitude) << "row " << m << ", stored row " << n;
            expected = add ? expected + product : product;
          }
          ASSERT_TRUE(SameBits(&out[m * out_stride + n], &expected, 1))
              << c.num_rows << " rows, k " << c.k << ", row " << m << ", stored row " << n;
        }
      }
    }
  }

 private:
  static double Value(const Stored& stored, size_t i) {
    return stored.dtype == DType::kF32 ? stored.f32[i] : ToF32(stored.bf16[i]);
  }
};

TEST_P(DotProductTest, ManyGroupsEqualSingleProductsBitwise) {
  for (const size_t num_rows : {size_t{5}, size_t{30}, size_t{97}}) {
    for (const size_t k : {size_t{70}, size_t{3105}}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        for (const ComputeDType compute : {ComputeDType::kF32, ComputeDType::kBF16}) {
          Check(SelectDotKernel(dtype, compute), {num_rows, 150, k, dtype, compute});
        }
      }
    }
  }
}

MSA_ON_EVERY_LEVEL(DotProductTest);

// What the amx level does, with tiles modelled by the program: on every machine.
class AmxProductsTest : public DotProductTest {};

TEST_P(AmxProductsTest, EveryShapeEqualsSingleProductsBitwise) {
  const DotKernel kernel = AmxProducts<ModelledTiles>::Kernel();
  for (const size_t num_rows : {1, 15, 16, 17, 32, 50}) {
    for (const size_t num_stored : {1, 16, 31, 32, 33, 100}) {
      for (const size_t k : {1, 31, 32, 33, 64, 200}) {
        Check(kernel, {num_rows, num_stored, k, DType::kBF16, ComputeDType::kBF16});
      }
    }
  }
  EXPECT_FALSE(ModelledTiles::configured());
}

// What lies behind a row's K elements, and behind the last row, is never part of a product, whatever
// it is.
TEST_P(AmxProductsTest, WhatLiesBehindARowNeverEntersAProduct) {
  constexpr size_t kWidth = 40, kStride = 64, kNumStored = 21;
  const DotKernel kernel = AmxProducts<ModelledTiles>::Kernel();
  std::vector<BF16> stored((kNumStored + 16) * kStride,
                           ToBF16(std::numeric_limits<float>::quiet_NaN()));
  for (size_t n = 0; n < kNumStored; ++n) {
    std::fill_n(stored.begin() + static_cast<int64_t>(n * kStride), kWidth,
                ToBF16(static_cast<float>(n)));
  }
  const std::vector<float> row(kWidth, 0.5f);
  AlignedBuffer buffer;
  auto* const prepared = buffer.Get<std::byte>(kernel.prepared_bytes(1, kWidth));
  kernel.prepare_row(row.data(), kWidth, true, 0, 1, prepared);
  std::vector<float> out(kNumStored);
  kernel.multiply({.prepared = prepared,
                   .num_rows = 1,
                   .stored = reinterpret_cast<const std::byte*>(stored.data()),
                   .stored_stride = kStride * sizeof(BF16),
                   .num_stored = kNumStored,
                   .k = kWidth,
                   .out = out.data(),
                   .out_stride = kNumStored});
  for (size_t n = 0; n < kNumStored; ++n) EXPECT_EQ(out[n], 20.0f * static_cast<float>(n));
}

// The instructions around the machine's tiles do what the model does.
TEST_P(AmxProductsTest, TheMachinesVectorsEqualTheModel) {
  if (!LimitInstructionSet("avx512-bf16").ok()) GTEST_SKIP() << "no vectors of bf16 pairs here";
  const std::vector<float> row = Random(32);
  for (size_t count = 1; count <= 32; ++count) {
    std::vector<uint32_t> pairs(16), expected(16);
    amx::PreparePairs(row.data(), count, pairs.data());
    ModelledTiles::PreparePairs(row.data(), count, expected.data());
    EXPECT_EQ(pairs, expected) << count << " elements";
  }
  AlignedBuffer buffer;
  auto* const sums = buffer.Get<float>(256);
  const std::vector<float> values = Random(256), before = Random(16 * 21);
  std::copy(values.begin(), values.end(), sums);
  for (const size_t num_rows : {1, 2, 15, 16}) {
    for (const size_t num_stored : {1, 7, 8, 15, 16}) {
      for (const bool add : {false, true}) {
        DotBlock block;
        block.out_stride = 21;
        block.add = add;
        std::vector<float> out = before, expected = before;
        amx::WriteProducts(sums, num_rows, num_stored, block, out.data());
        ModelledTiles::WriteProducts(sums, num_rows, num_stored, block, expected.data());
        EXPECT_TRUE(SameBits(out, expected)) << num_rows << " x " << num_stored;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(ModelledTiles, AmxProductsTest, testing::Values(std::string("avx2")));

}  // namespace
}  // namespace msa::kernels
