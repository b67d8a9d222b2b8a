#include "kernels/core/device.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/cuda_api.h"

namespace msa::kernels {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

TEST(DeviceTest, TheCpuIsAvailable) { EXPECT_TRUE(CheckDeviceAvailable(DeviceKind::kCpu).ok()); }

TEST(DeviceTest, AMissingCudaDeviceSaysWhatIsMissing) {
  const absl::Status status = CheckDeviceAvailable(DeviceKind::kCuda);
  if (status.ok()) GTEST_SKIP() << "this machine has a CUDA device";
  const std::string message(status.message());
  if (kBuiltWithCuda) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(message,
                AnyOf(HasSubstr("no NVIDIA driver"), HasSubstr("no device"), HasSubstr("CUDA")));
  } else {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(message, HasSubstr("this build has no CUDA"));
  }
}

TEST(DeviceTest, DeviceMemoryOfTheCpuIsRefused) {
  const auto buffer = DeviceBuffer::Allocate(DeviceKind::kCpu, 16, "test values");
  EXPECT_EQ(buffer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(buffer.status().message()), HasSubstr("test values"));
}

TEST(DeviceTest, DeviceMemoryWithoutADeviceGivesTheReason) {
  const absl::Status available = CheckDeviceAvailable(DeviceKind::kCuda);
  if (available.ok()) GTEST_SKIP() << "this machine has a CUDA device";
  EXPECT_EQ(DeviceBuffer::Allocate(DeviceKind::kCuda, 16, "test values").status(), available);
}

TEST(DeviceTest, BytesComeBackFromTheDeviceAsTheyWentThere) {
  if (!CheckDeviceAvailable(DeviceKind::kCuda).ok()) GTEST_SKIP() << "needs a CUDA device";
  const std::vector<int> values = {1, 2, 3, 4};
  auto buffer = DeviceBuffer::Allocate(DeviceKind::kCuda, 16, "test values");
  ASSERT_TRUE(buffer.ok());
  ASSERT_TRUE(buffer->CopyFromHost(values.data(), 16).ok());
  std::vector<int> back(4);
  ASSERT_TRUE(buffer->CopyToHost(back.data(), 16).ok());
  EXPECT_EQ(back, values);
}

}  // namespace
}  // namespace msa::kernels
