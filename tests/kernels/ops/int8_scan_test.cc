#include "kernels/ops/int8_scan.h"

#include <cmath>
#include <limits>

#include "kernels/core/aligned_buffer.h"
#include "kernels/ops/dot_product.h"
#include "kernels/ops/quantized_keys.h"
#include "tests/kernels/ops/naive_ops.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Int8ScanTest : public OpTest {
 protected:
  struct Bounds {
    std::vector<float> upper, lower;  // [Q, stride]
    size_t stride = 0;
  };
  Bounds Scan(const std::vector<float>& rows, const std::vector<int64_t>& offsets, bool round,
              const Stored& keys, int64_t width, int64_t num_chunks) {
    const Int8ScanKernel kernel = SelectInt8ScanKernel();
    Int8Rows prepared;
    EXPECT_TRUE(
        PrepareInt8Rows({rows.data(), {offsets.back(), width}}, offsets, round, kernel, &prepared));
    AlignedBuffer buffer;
    auto* const groups =
        buffer.Get<std::byte>(static_cast<size_t>(QuantizedKeyBytes(num_chunks, width)));
    QuantizeKeys(keys.data(), keys.dtype, width, 0, num_chunks, groups);
    const auto num_groups = static_cast<size_t>((num_chunks + 15) / 16);
    Bounds bounds;
    bounds.stride = 16 * num_groups;
    bounds.upper.assign((offsets.size() - 1) * bounds.stride, -kInfinity);
    bounds.lower = bounds.upper;
    kernel.scan({.rows = &prepared,
                 .groups = groups,
                 .num_groups = num_groups,
                 .steps = static_cast<size_t>(QuantizedSteps(width)),
                 .upper = bounds.upper.data(),
                 .lower = bounds.lower.data(),
                 .stride = bounds.stride});
    return bounds;
  }

  // products [T, C] as the exact scan computes them.
  std::vector<float> Exact(const std::vector<float>& rows, const Stored& keys, int64_t width,
                           int64_t num_chunks, ComputeDType compute) {
    const DotKernel kernel = SelectDotKernel(keys.dtype, compute);
    const auto k = static_cast<size_t>(width);
    const size_t num_rows = rows.size() / k;
    AlignedBuffer buffer;
    auto* const prepared = buffer.Get<std::byte>(kernel.prepared_bytes(num_rows, k));
    const bool round = kernel.round_to_bf16 && keys.dtype == DType::kBF16;
    for (size_t t = 0; t < num_rows; ++t) {
      kernel.prepare_row(rows.data() + t * k, k, round, t, num_rows, prepared);
    }
    std::vector<float> products(num_rows * static_cast<size_t>(num_chunks));
    kernel.multiply({.prepared = prepared,
                     .num_rows = num_rows,
                     .stored = static_cast<const std::byte*>(keys.data()),
                     .stored_stride = k * SizeOf(keys.dtype),
                     .num_stored = static_cast<size_t>(num_chunks),
                     .k = k,
                     .out = products.data(),
                     .out_stride = static_cast<size_t>(num_chunks)});
    return products;
  }
};

// The property that the proof stands on, for the products that the exact scan computes and for
// those without rounding.
TEST_P(Int8ScanTest, ProductsLieBetweenTheBounds) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const ComputeDType compute : {ComputeDType::kF32, ComputeDType::kBF16}) {
      for (const int64_t width : {1, 5, 64, 128, 1024, 1500}) {
        for (const std::vector<int64_t>& offsets :
             {std::vector<int64_t>{0, 1}, {0, 0, 3, 3, 4}, {0, 11, 48}}) {
          for (const float size : {1e-12f, 1.0f, 1e9f}) {
            constexpr int64_t kChunks = 83;
            std::vector<float> values = Random(kChunks * width, size);
            // Some keys with one large value, some without any.
            for (int64_t i = 0; i < kChunks; i += 7) values[static_cast<size_t>(i * width)] *= 100;
            std::fill_n(values.begin() + 20 * width, width, 0.0f);
            const Stored keys(dtype, values);
            const std::vector<float> rows = Random(offsets.back() * width);
            const bool round = compute == ComputeDType::kBF16 && dtype == DType::kBF16;
            const Bounds bounds = Scan(rows, offsets, round, keys, width, kChunks);
            const std::vector<float> exact = Exact(rows, keys, width, kChunks, compute);
            for (size_t q = 0; q + 1 < offsets.size(); ++q) {
              for (int64_t j = 0; j < kChunks; ++j) {
                float best = -kInfinity;
                for (int64_t t = offsets[q]; t < offsets[q + 1]; ++t) {
                  best = std::max(best, exact[static_cast<size_t>(t * kChunks + j)]);
                }
                const size_t at = q * bounds.stride + static_cast<size_t>(j);
                ASSERT_LE(bounds.lower[at], best) << "width " << width << " size " << size;
                ASSERT_GE(bounds.upper[at], best) << "width " << width << " size " << size;
              }
            }
          }
        }
      }
    }
  }
}

// Bounds that are always true say nothing if they are wide: of unit vectors of 1,024 dimensions
// they are a few per mille of the norms.
TEST_P(Int8ScanTest, BoundsAreTight) {
  constexpr int64_t kWidth = 1024, kChunks = 64;
  const float unit = 1 / std::sqrt(static_cast<float>(kWidth));
  const Stored keys(DType::kBF16, Random(kChunks * kWidth, unit));
  const Bounds bounds = Scan(Random(kWidth, unit), {0, 1}, true, keys, kWidth, kChunks);
  for (size_t j = 0; j < kChunks; ++j) {
    EXPECT_LT(bounds.upper[j] - bounds.lower[j], GetParam() == "avx2" ? 0.06f : 0.04f);
    EXPECT_GT(bounds.upper[j] - bounds.lower[j], 0.01f);
  }
}

TEST_P(Int8ScanTest, KeysThatAreNotFiniteHaveNoBounds) {
  std::vector<float> values(20 * 8, 1.0f);
  values[3 * 8] = std::nanf("");
  values[17 * 8 + 7] = kInfinity;
  const Bounds bounds =
      Scan({1, 2, 3, 4, 5, 6, 7, 8}, {0, 1}, false, Stored(DType::kF32, values), 8, 20);
  for (size_t j = 0; j < 20; ++j) {
    EXPECT_EQ(std::isinf(bounds.upper[j]), j == 3 || j == 17) << j;
    EXPECT_EQ(std::isinf(bounds.lower[j]), j == 3 || j == 17) << j;
  }
}

TEST_P(Int8ScanTest, RowsThatAreNotFiniteAreRefused) {
  Int8Rows prepared;
  const std::vector<float> rows = {1, 2, std::nanf(""), 4};
  EXPECT_FALSE(PrepareInt8Rows({rows.data(), {2, 2}}, std::vector<int64_t>{0, 2}, false,
                               SelectInt8ScanKernel(), &prepared));
}

MSA_ON_EVERY_LEVEL(Int8ScanTest);

}  // namespace
}  // namespace msa::kernels
