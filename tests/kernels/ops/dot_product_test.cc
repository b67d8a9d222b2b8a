// Products of many rows with several groups of stored rows, which the ops' tasks seldom have in
// tests: every product must be the one of its row and stored row alone, bit for bit.
#include "kernels/ops/dot_product.h"

#include "kernels/core/aligned_buffer.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

class DotProductTest : public OpTest {};

TEST_P(DotProductTest, ManyGroupsEqualSingleProductsBitwise) {
  constexpr size_t kStored = 150, kOutStride = 157;
  for (const size_t num_rows : {size_t{5}, size_t{30}, size_t{97}}) {
    for (const size_t k : {size_t{70}, size_t{3105}}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        for (const ComputeDType compute : {ComputeDType::kF32, ComputeDType::kBF16}) {
          const Stored stored(dtype, Random(static_cast<int64_t>(kStored * k)));
          const std::vector<float> rows = Random(static_cast<int64_t>(num_rows * k));
          const DotKernel kernel = SelectDotKernel(dtype, compute);
          const bool round = kernel.round_to_bf16 && dtype == DType::kBF16;
          AlignedBuffer buffer, single_buffer;
          auto* const prepared = buffer.Get<std::byte>(kernel.prepared_bytes(num_rows, k));
          auto* const single = single_buffer.Get<std::byte>(kernel.prepared_bytes(1, k));
          for (size_t m = 0; m < num_rows; ++m) {
            kernel.prepare_row(rows.data() + m * k, k, round, m, num_rows, prepared);
          }
          const std::vector<float> before = Random(static_cast<int64_t>(num_rows * kOutStride));
          for (const bool add : {false, true}) {
            std::vector<float> out = before;
            DotBlock block{.prepared = prepared,
                           .num_rows = num_rows,
                           .stored = static_cast<const std::byte*>(stored.data()),
                           .stored_stride = k * SizeOf(dtype),
                           .num_stored = kStored,
                           .k = k,
                           .out = out.data(),
                           .out_stride = kOutStride,
                           .add = add};
            kernel.multiply(block);
            for (size_t m = 0; m < num_rows; m += 3) {
              kernel.prepare_row(rows.data() + m * k, k, round, 0, 1, single);
              for (size_t n = 0; n < kOutStride; n += 7) {
                float expected = before[m * kOutStride + n];
                if (n < kStored) {
                  float product = 0;
                  kernel.multiply({.prepared = single,
                                   .num_rows = 1,
                                   .stored = block.stored + n * block.stored_stride,
                                   .stored_stride = block.stored_stride,
                                   .num_stored = 1,
                                   .k = k,
                                   .out = &product,
                                   .out_stride = 1});
                  expected = add ? expected + product : product;
                }
                ASSERT_TRUE(SameBits(&out[m * kOutStride + n], &expected, 1))
                    << num_rows << " rows, k " << k << ", row " << m << ", stored row " << n;
              }
            }
          }
        }
      }
    }
  }
}

MSA_ON_EVERY_LEVEL(DotProductTest);

}  // namespace
}  // namespace msa::kernels
