#include "kernels/ops/quantized_keys.h"

#include <cmath>
#include <limits>

#include "tests/kernels/ops/naive_ops.h"
#include "tests/kernels/ops/op_test_fixture.h"

namespace msa::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

double Norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

class QuantizedKeysTest : public OpTest {
 protected:
  struct Codes {
    QuantizedRow row;
    std::vector<int8_t> codes;
  };
  static Codes Quantize(const std::vector<float>& values, int limit = 127) {
    const auto width = static_cast<int64_t>(values.size());
    Codes result;
    result.codes.assign(static_cast<size_t>(4 * QuantizedSteps(width)), 99);
    result.row = QuantizeRow(values.data(), width, limit, result.codes.data());
    return result;
  }
};

TEST_P(QuantizedKeysTest, QuantizesTheHandWorkedRow) {
  const Codes codes = Quantize({127, -63.4f, 0.6f, 0, 1});
  EXPECT_EQ(codes.codes, (std::vector<int8_t>{127, -63, 1, 0, 1, 0, 0, 0}));
  EXPECT_EQ(codes.row.scale, 1.0f);
  EXPECT_NEAR(codes.row.error_norm, std::sqrt(0.4 * 0.4 + 0.4 * 0.4), 2e-3);
  EXPECT_NEAR(codes.row.norm, std::sqrt(127 * 127 + 63.4 * 63.4 + 0.36 + 1), 0.2);
  EXPECT_EQ(Quantize({8, -4, 2}, 64).codes, (std::vector<int8_t>{64, -32, 16, 0}));
}

TEST_P(QuantizedKeysTest, NormsBoundWhatTheyStandForAndNotMuchMore) {
  for (const int64_t width : {1, 3, 4, 17, 128, 1000, 4096}) {
    for (const float size : {1e-20f, 1e-3f, 1.0f, 1e6f, 1e14f}) {
      for (const int limit : {64, 127}) {
        const std::vector<float> values = Random(width, size);
        const Codes codes = Quantize(values, limit);
        std::vector<double> error;
        for (size_t i = 0; i < values.size(); ++i) {
          EXPECT_LE(std::abs(codes.codes[i]), limit);
          error.push_back(values[i] - static_cast<double>(codes.row.scale) * codes.codes[i]);
        }
        const double norm = Norm(naive::Widen(values));
        EXPECT_GE(codes.row.norm, norm);
        EXPECT_LE(codes.row.norm, norm * 1.002);
        EXPECT_GE(codes.row.error_norm, Norm(error));
        EXPECT_LE(codes.row.error_norm, Norm(error) * 1.002 + norm * 1e-4);
      }
    }
  }
}

TEST_P(QuantizedKeysTest, RowsWithoutUsableValuesAreBoundedByTheirNorm) {
  const Codes zeros = Quantize({0, 0, 0, 0, 0});
  EXPECT_EQ(zeros.codes, std::vector<int8_t>(8));
  EXPECT_EQ(zeros.row.error_norm, 0.0f);
  const Codes tiny = Quantize({3e-38f, -4e-38f});
  EXPECT_EQ(tiny.codes, std::vector<int8_t>(4));
  EXPECT_GE(tiny.row.error_norm, 5e-38f);
  for (const float value : {kInfinity, -kInfinity, std::nanf(""), 2e15f}) {
    std::vector<float> values(40, 1.0f);
    for (const size_t place : {size_t{0}, size_t{20}, size_t{39}}) {
      std::vector<float> row = values;
      row[place] = value;
      const Codes codes = Quantize(row);
      EXPECT_EQ(codes.row.error_norm, kInfinity) << value << " at " << place;
      EXPECT_EQ(codes.row.scale, 0.0f);
      EXPECT_EQ(codes.codes, std::vector<int8_t>(40));
    }
  }
}

// Chunks one by one, backwards, must come to the same groups as all at once: writing one leaves its
// neighbours alone.
TEST_P(QuantizedKeysTest, GroupsHoldEveryChunkAtItsPlace) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t width : {4, 30, 128}) {
      constexpr int64_t kChunks = 37;
      const std::vector<float> values = RandomBF16(kChunks * width);
      const Stored keys(dtype, values);
      const auto bytes = static_cast<size_t>(QuantizedKeyBytes(kChunks, width));
      EXPECT_EQ(bytes, static_cast<size_t>(3 * QuantizedGroupBytes(width)));
      std::vector<std::byte> groups(bytes);
      QuantizeKeys(keys.data(), dtype, width, 0, kChunks, groups.data());
      std::vector<std::byte> one_by_one(bytes);
      const auto key_bytes = static_cast<size_t>(width) * SizeOf(dtype);
      for (int64_t chunk = kChunks - 1; chunk >= 0; --chunk) {
        QuantizeKeys(static_cast<const std::byte*>(keys.data()) + chunk * key_bytes, dtype, width,
                     chunk, 1, one_by_one.data());
      }
      EXPECT_EQ(groups, one_by_one);
      std::vector<std::byte> moved(groups.size() + bytes / 3);  // to a place within a group
      CopyQuantizedKeys(groups.data(), 0, kChunks, width, moved.data(), 5);
      std::vector<std::byte> back(bytes);
      CopyQuantizedKeys(moved.data(), 5, kChunks, width, back.data(), 0);
      EXPECT_EQ(back, groups);
      for (int64_t chunk = 0; chunk < kChunks; ++chunk) {
        const auto first = values.begin() + chunk * width;
        const Codes expected = Quantize({first, first + width});
        const std::byte* const group = groups.data() + chunk / 16 * QuantizedGroupBytes(width);
        for (int64_t i = 0; i < width; ++i) {
          EXPECT_EQ(static_cast<int>(group[i / 4 * 64 + chunk % 16 * 4 + i % 4]) - 128,
                    expected.codes[static_cast<size_t>(i)]);
        }
        float numbers[3];
        for (int64_t n = 0; n < 3; ++n) {
          std::memcpy(&numbers[n], group + (QuantizedSteps(width) + n) * 64 + chunk % 16 * 4, 4);
        }
        EXPECT_EQ(numbers[0], expected.row.scale);
        EXPECT_EQ(numbers[1], expected.row.error_norm);
        EXPECT_EQ(numbers[2], expected.row.norm);
      }
    }
  }
}

MSA_ON_EVERY_LEVEL(QuantizedKeysTest);

}  // namespace
}  // namespace msa::kernels
