#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/cpu_features.h"
#include "kernels/core/device.h"
#include "kernels/core/op_context.h"
#include "kernels/core/stream.h"
#include "kernels/core/tensor_view.h"

// What the op tests share: every case runs on every level that the machine has, and on its CUDA
// device where the op has a path for that.
namespace msa::kernels {

inline constexpr char kCudaName[] = "cuda";

inline std::vector<std::string> LevelsOfThisMachine() {
  const std::string fastest(InstructionSet());
  std::vector<std::string> levels;
  for (const char* level : {"avx2", "avx512", "avx512-bf16", "amx"}) {
    if (LimitInstructionSet(level).ok()) levels.emplace_back(level);
  }
  (void)LimitInstructionSet(fastest);
  return levels;
}

inline std::vector<std::string> DevicesOfThisMachine() {
  std::vector<std::string> devices = LevelsOfThisMachine();
  if (CheckDeviceAvailable(DeviceKind::kCuda).ok()) devices.emplace_back(kCudaName);
  return devices;
}

// Values in the memory of a context's device; on the CPU of exactly their size, so that sanitizers
// see what is read or written behind them.
template <class T>
class DeviceArray {
 public:
  DeviceArray(const OpContext& context, const std::vector<T>& values)
      : context_(context), size_(values.size()) {
    if (context.device == DeviceKind::kCpu) {
      host_ = values;
      return;
    }
    auto buffer = DeviceBuffer::Allocate(size_ * sizeof(T), "test values");
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    if (!buffer.ok()) return;
    buffer_ = *std::move(buffer);
    const absl::Status copied =
        context.stream->CopyFromHost(values.data(), size_ * sizeof(T), buffer_.data());
    EXPECT_TRUE(copied.ok()) << copied;
  }
  T* data() const {
    return context_.device == DeviceKind::kCpu ? host_.data() : static_cast<T*>(buffer_.data());
  }
  std::vector<T> Values() const {
    if (context_.device == DeviceKind::kCpu) return host_;
    std::vector<T> values(size_);
    const absl::Status copied =
        context_.stream->CopyToHost(buffer_.data(), size_ * sizeof(T), values.data());
    EXPECT_TRUE(copied.ok()) << copied;
    return values;
  }

 private:
  OpContext context_;
  size_t size_;
  mutable std::vector<T> host_;
  DeviceBuffer buffer_;
};

class OpTest : public testing::TestWithParam<std::string> {
 protected:
  OpTest() : fastest_(InstructionSet()) {
    if (GetParam() != kCudaName) {
      EXPECT_TRUE(LimitInstructionSet(GetParam()).ok());
      return;
    }
    auto stream = Stream::Create();
    EXPECT_TRUE(stream.ok()) << stream.status();
    if (stream.ok()) stream_ = *std::move(stream);
  }
  ~OpTest() override { EXPECT_TRUE(LimitInstructionSet(fastest_).ok()); }

  // Of the device under test.
  OpContext context() {
    return {stream_ == nullptr ? DeviceKind::kCpu : DeviceKind::kCuda, &pool_, stream_.get()};
  }
  OpContext one_thread() { return {DeviceKind::kCpu, &single_}; }

  template <class T>
  DeviceArray<T> OnDevice(const std::vector<T>& values) {
    return DeviceArray<T>(context(), values);
  }

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
  std::unique_ptr<Stream> stream_;
};

inline std::string NameOfDevice(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

#define MSA_ON_EVERY_LEVEL(Suite)                                                       \
  INSTANTIATE_TEST_SUITE_P(EveryLevel, Suite, testing::ValuesIn(LevelsOfThisMachine()), \
                           NameOfDevice)
#define MSA_ON_EVERY_DEVICE(Suite)                                                        \
  INSTANTIATE_TEST_SUITE_P(EveryDevice, Suite, testing::ValuesIn(DevicesOfThisMachine()), \
                           NameOfDevice)

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
  std::vector<char> Bytes() const {
    const auto* const bytes = static_cast<const char*>(data());
    return {bytes, bytes + std::max(f32.size(), bf16.size()) * SizeOf(dtype)};
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
