#include "kernels/core/device.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/cpu_features.h"
#include "kernels/core/device_cuda.h"
#include "kernels/core/large_array.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/stream.h"

namespace msa::kernels {
namespace {

absl::Status CheckCuda() {
  if constexpr (kBuiltWithCuda) {
    std::string why_none;
    if (cuda::NumDevices(&why_none) > 0) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("device cuda: this build has CUDA, this machine does not: ", why_none));
  }
  return absl::UnimplementedError(
      "device cuda: this build has no CUDA (nvcc was not found when it was configured)");
}

}  // namespace

absl::Status CheckDeviceAvailable(DeviceKind device) {
  if (device == DeviceKind::kCuda) {
    static const absl::Status* const status = new absl::Status(CheckCuda());
    return *status;
  }
  if (HasLowestCpuLevel()) return absl::OkStatus();
  return absl::FailedPreconditionError("device cpu: this program needs a CPU with AVX2 and FMA");
}

absl::Status CudaStatus(cudaError_t error, absl::string_view what) {
  if (error == cudaError_t{}) return absl::OkStatus();
  if constexpr (kBuiltWithCuda) {
    return absl::InternalError(absl::StrCat(what, " on device cuda: ", cuda::ErrorText(error)));
  }
  return CheckCuda();
}

absl::StatusOr<Buffer> Buffer::Allocate(DeviceKind device, size_t bytes,
                                        const std::string& purpose) {
  MSA_RETURN_IF_ERROR(CheckDeviceAvailable(device));
  if (device == DeviceKind::kCpu) {
    LargeArray memory = AllocateLargeArray(bytes);
    if (memory == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat(purpose, ": no memory for ", bytes, " bytes"));
    }
    return Buffer(device, memory.release(), bytes);
  }
  void* data = nullptr;
  if constexpr (kBuiltWithCuda) {
    const cudaError_t error = cuda::Allocate(bytes, &data);
    if (error != cudaError_t{}) {
      return absl::ResourceExhaustedError(
          absl::StrCat(purpose, ": ", bytes, " bytes of device memory: ", cuda::ErrorText(error)));
    }
  }
  return Buffer(device, data, bytes);
}

Buffer::Buffer(DeviceKind device, void* data, size_t bytes)
    : device_(device), data_(data), bytes_(bytes) {}

Buffer::Buffer(Buffer&& other) noexcept
    : device_(other.device_),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Buffer::~Buffer() {
  if (device_ == DeviceKind::kCpu) {
    FreeLargeArray()(static_cast<std::byte*>(data_));
  } else if constexpr (kBuiltWithCuda) {
    if (data_ != nullptr) cuda::Free(data_);
  }
}

absl::Status CopyFromHost(const OpContext& context, const void* host, size_t bytes, void* data,
                          absl::string_view what) {
  if (context.device == DeviceKind::kCpu) {
    if (bytes > 0) std::memcpy(data, host, bytes);
    return absl::OkStatus();
  }
  if constexpr (kBuiltWithCuda) {
    MSA_CHECK(context.stream != nullptr, "copies to a CUDA device need a stream");
    MSA_RETURN_IF_ERROR(
        CudaStatus(cuda::CopyToDevice(context.stream->handle(), host, bytes, data), what));
    return CudaStatus(cuda::Synchronize(context.stream->handle()), what);
  }
  return CheckCuda();
}

absl::Status CopyToHost(const OpContext& context, const void* data, size_t bytes, void* host,
                        absl::string_view what) {
  if (context.device == DeviceKind::kCpu) {
    if (bytes > 0) std::memcpy(host, data, bytes);
    return absl::OkStatus();
  }
  if constexpr (kBuiltWithCuda) {
    MSA_CHECK(context.stream != nullptr, "copies from a CUDA device need a stream");
    MSA_RETURN_IF_ERROR(
        CudaStatus(cuda::CopyToHost(context.stream->handle(), data, bytes, host), what));
    return CudaStatus(cuda::Synchronize(context.stream->handle()), what);
  }
  return CheckCuda();
}

}  // namespace msa::kernels
