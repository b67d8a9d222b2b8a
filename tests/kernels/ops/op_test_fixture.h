#pragma once

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/cpu_features.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

// What the op tests share: every case runs on every level that the machine has.
namespace msa::kernels {

inline std::vector<std::string> LevelsOfThisMachine() {
  const std::string fastest(InstructionSet());
  std::vector<std::string> levels;
  for (const char* level : {"avx2", "avx512", "avx512-bf16", "amx"}) {
    if (LimitInstructionSet(level).ok()) levels.emplace_back(level);
  }
  (void)LimitInstructionSet(fastest);
  return levels;
}

class OpTest : public testing::TestWithParam<std::string> {
 protected:
  OpTest() : fastest_(InstructionSet()) { EXPECT_TRUE(LimitInstructionSet(GetParam()).ok()); }
  ~OpTest() override { EXPECT_TRUE(LimitInstructionSet(fastest_).ok()); }

  OpContext context() { return {DeviceKind::kCpu, &pool_}; }
  OpContext one_thread() { return {DeviceKind::kCpu, &single_}; }

  std::vector<float> Random(int64_t count, float scale = 1.0f) {
    std::normal_distribution<float> normal(0.0f, scale);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal(generator_);
    return values;
  }
  std::vector<float> RandomBF16(int64_t count, float scale = 1.0f) {
    std::vector<float> values = Random(count, scale);
    for (float& value : values) value = ToF32(ToBF16(value));
    return values;
  }
  // Whole numbers from -8 to 8: bf16 holds them, f32 their sums of products.
  std::vector<float> WholeNumbers(int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = static_cast<float>(RandomBelow(17) - 8);
    return values;
  }
  int64_t RandomBelow(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(generator_);
  }

  std::mt19937 generator_{12345};

 private:
  std::string fastest_;
  ThreadPool pool_{3};
  ThreadPool single_{1};
};

#define MSA_ON_EVERY_LEVEL(Suite)                                                       \
  INSTANTIATE_TEST_SUITE_P(EveryLevel, Suite, testing::ValuesIn(LevelsOfThisMachine()), \
                           [](const auto& param_info) {                                 \
                             std::string name = param_info.param;                       \
                             for (char& c : name) c = c == '-' ? '_' : c;               \
                             return name;                                               \
                           })

// Values in the storage that a kernel reads; owns the bytes.
struct Stored {
  DType dtype;
  std::vector<float> f32;
  std::vector<BF16> bf16;

  Stored(DType type, const std::vector<float>& values) : dtype(type) {
    if (type == DType::kF32) {
      f32 = values;
    } else {
      for (const float value : values) bf16.push_back(ToBF16(value));
    }
  }
  const void* data() const {
    return dtype == DType::kF32 ? static_cast<const void*>(f32.data()) : bf16.data();
  }
};

inline bool SameBits(const float* a, const float* b, size_t count) {
  return count == 0 || std::memcmp(a, b, count * sizeof(float)) == 0;
}

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && SameBits(a.data(), b.data(), a.size());
}

// |actual[i] - expected[i]| <= absolute + relative * |expected[i]|
inline void ExpectClose(const std::vector<float>& actual, const std::vector<double>& expected,
                        double absolute, double relative) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], absolute + relative * std::abs(expected[i])) << "at " << i;
  }
}

inline void ExpectInvalid(const absl::Status& status, const std::string& part) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part));
}

inline void ExpectNoCudaPath(const absl::Status& status, const std::string& op) {
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  EXPECT_EQ(std::string(status.message()),
            op + " on device cuda: this build has no CUDA path for it");
}

}  // namespace msa::kernels
