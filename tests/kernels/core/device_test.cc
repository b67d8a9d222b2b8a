#include "kernels/core/device.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/cuda_api.h"
#include "kernels/core/stream.h"

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

TEST(DeviceBufferTest, WithoutADeviceItGivesTheReason) {
  const absl::Status available = CheckDeviceAvailable(DeviceKind::kCuda);
  if (available.ok()) GTEST_SKIP() << "this machine has a CUDA device";
  EXPECT_EQ(DeviceBuffer::Allocate(16, "test values").status(), available);
  EXPECT_EQ(Stream::Create().status(), available);
}

class StreamTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CheckDeviceAvailable(DeviceKind::kCuda).ok()) GTEST_SKIP() << "needs a CUDA device";
    auto stream = Stream::Create();
    ASSERT_TRUE(stream.ok()) << stream.status();
    stream_ = *std::move(stream);
  }
  std::unique_ptr<Stream> stream_;
};

TEST_F(StreamTest, BytesComeBackFromTheDeviceAsTheyWentThere) {
  const std::vector<int> values = {1, 2, 3, 4};
  auto buffer = DeviceBuffer::Allocate(16, "test values");
  ASSERT_TRUE(buffer.ok());
  ASSERT_TRUE(stream_->CopyFromHost(values.data(), 16, buffer->data()).ok());
  std::vector<int> back(4);
  ASSERT_TRUE(stream_->CopyToHost(buffer->data(), 16, back.data()).ok());
  EXPECT_EQ(back, values);
}

TEST_F(StreamTest, UploadsStayUntilHalfOfTheRingWasUploadedAfterThem) {
  std::vector<int> values(100'000);
  std::vector<std::pair<int, const int*>> uploads;
  for (int turn = 0; turn < 40; ++turn) {
    values[7] = turn;
    auto uploaded = stream_->Upload(absl::MakeConstSpan(values));
    ASSERT_TRUE(uploaded.ok()) << uploaded.status();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(*uploaded) % 16, 0u);
    uploads.emplace_back(turn, *uploaded);
    if (uploads.size() > 10) uploads.erase(uploads.begin());  // 10 of 400,000 bytes: under 4 MiB
    for (const auto& [number, copy] : uploads) {
      int back = -1;
      ASSERT_TRUE(stream_->CopyToHost(copy + 7, sizeof(back), &back).ok());
      EXPECT_EQ(back, number) << "after " << turn;
    }
  }
}

TEST_F(StreamTest, UploadsAreAlignedAfterOneThatWasLargerThanTheRing) {
  const std::vector<char> odd((size_t{5} << 20) + 1);
  ASSERT_TRUE(stream_->Upload(absl::MakeConstSpan(odd)).ok());
  for (int i = 0; i < 3; ++i) {
    auto uploaded = stream_->Upload(absl::MakeConstSpan(odd));
    ASSERT_TRUE(uploaded.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(*uploaded) % 16, 0u);
  }
}

TEST_F(StreamTest, OneUploadMayBeLargerThanTheRing) {
  const std::vector<int> before = {1, 2, 3};
  auto small = stream_->Upload(absl::MakeConstSpan(before));
  ASSERT_TRUE(small.ok()) << small.status();
  std::vector<int> values(5'000'000, 3);
  values.back() = 4;
  auto uploaded = stream_->Upload(absl::MakeConstSpan(values));
  ASSERT_TRUE(uploaded.ok()) << uploaded.status();
  int back = 0;
  ASSERT_TRUE(stream_->CopyToHost(*uploaded + values.size() - 1, sizeof(back), &back).ok());
  EXPECT_EQ(back, 4);
  ASSERT_TRUE(stream_->CopyToHost(*small + 2, sizeof(back), &back).ok());
  EXPECT_EQ(back, 3) << "what came before is still there";
}

}  // namespace
}  // namespace msa::kernels
