#include "kernels/core/device.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/core/cuda_api.h"
#include "kernels/core/device_cuda.h"
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

TEST(BufferTest, OfTheCpuIsHostMemory) {
  auto buffer = Buffer::Allocate(DeviceKind::kCpu, 16, "test values");
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  std::memset(buffer->data(), 1, buffer->bytes());
  const void* const data = buffer->data();
  const Buffer moved = *std::move(buffer);
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(buffer->bytes(), 0u);
}

#ifndef MSA_SANITIZE  // sanitizers end the program instead
TEST(BufferTest, MoreThanThereIsIsRefusedByPurpose) {
  const auto buffer = Buffer::Allocate(DeviceKind::kCpu, size_t{1} << 60, "routing keys");
  EXPECT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(buffer.status().message()), HasSubstr("routing keys"));
}
#endif

TEST(BufferTest, WithoutADeviceItGivesTheReason) {
  const absl::Status available = CheckDeviceAvailable(DeviceKind::kCuda);
  if (available.ok()) GTEST_SKIP() << "this machine has a CUDA device";
  EXPECT_EQ(Buffer::Allocate(DeviceKind::kCuda, 16, "test values").status(), available);
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
  OpContext context() const { return {DeviceKind::kCuda, nullptr, stream_.get()}; }

  std::unique_ptr<Stream> stream_;
};

TEST_F(StreamTest, BytesComeBackFromTheDeviceAsTheyWentThere) {
  const std::vector<int> values = {1, 2, 3, 4};
  auto buffer = Buffer::Allocate(DeviceKind::kCuda, 16, "test values");
  ASSERT_TRUE(buffer.ok());
  ASSERT_TRUE(CopyFromHost(context(), values.data(), 16, buffer->data(), "test values").ok());
  std::vector<int> back(4);
  ASSERT_TRUE(CopyToHost(context(), buffer->data(), 16, back.data(), "test values").ok());
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
      ASSERT_TRUE(CopyToHost(context(), copy + 7, sizeof(back), &back, "test values").ok());
      EXPECT_EQ(back, number) << "after " << turn;
    }
  }
}

TEST_F(StreamTest, AHalfIsNotWrittenAgainBeforeItsCopiesAreDone) {
  constexpr int kTurns = 60;  // three times the ring
  std::vector<int> values(100'000);
  const size_t bytes = values.size() * sizeof(int);
  std::vector<Buffer> outputs;
  for (int turn = 0; turn < kTurns; ++turn) {
    auto output = Buffer::Allocate(DeviceKind::kCuda, bytes, "test values");
    ASSERT_TRUE(output.ok()) << output.status();
    outputs.push_back(*std::move(output));
  }
  if constexpr (kBuiltWithCuda) {
    for (int turn = 0; turn < kTurns; ++turn) {
      std::fill(values.begin(), values.end(), turn);
      auto uploaded = stream_->Upload(absl::MakeConstSpan(values));
      ASSERT_TRUE(uploaded.ok()) << uploaded.status();
      ASSERT_EQ(cuda::CopyOnDevice(stream_->handle(), *uploaded, bytes,
                                   outputs[static_cast<size_t>(turn)].data()),
                cudaError_t{});
    }
  }
  for (int turn = 0; turn < kTurns; ++turn) {
    const void* const output = outputs[static_cast<size_t>(turn)].data();
    ASSERT_TRUE(CopyToHost(context(), output, bytes, values.data(), "test values").ok());
    EXPECT_THAT(values, testing::Each(turn));
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
  ASSERT_TRUE(
      CopyToHost(context(), *uploaded + values.size() - 1, sizeof(back), &back, "values").ok());
  EXPECT_EQ(back, 4);
  ASSERT_TRUE(CopyToHost(context(), *small + 2, sizeof(back), &back, "values").ok());
  EXPECT_EQ(back, 3) << "what came before is still there";
}

}  // namespace
}  // namespace msa::kernels
