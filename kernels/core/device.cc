#include "kernels/core/device.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/cpu_features.h"
#include "kernels/core/cuda_api.h"
#include "kernels/core/device_cuda.h"
#include "kernels/core/status_macros.h"

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

absl::Status CopyStatus(cudaError_t error, const std::string& purpose) {
  if constexpr (kBuiltWithCuda) {
    if (error == cudaError_t{}) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("copy of ", purpose, ": ", cuda::ErrorText(error)));
  }
  return CheckCuda();
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

absl::StatusOr<DeviceBuffer> DeviceBuffer::Allocate(DeviceKind device, size_t bytes,
                                                    std::string purpose) {
  if (device != DeviceKind::kCuda) {
    return absl::InvalidArgumentError(
        absl::StrCat(purpose, ": device memory exists on device cuda only"));
  }
  MSA_RETURN_IF_ERROR(CheckDeviceAvailable(device));
  void* data = nullptr;
  if constexpr (kBuiltWithCuda) {
    const cudaError_t error = cuda::Allocate(bytes, &data);
    if (error != cudaError_t{}) {
      return absl::ResourceExhaustedError(
          absl::StrCat(purpose, ": ", bytes, " bytes of device memory: ", cuda::ErrorText(error)));
    }
  }
  return DeviceBuffer(data, bytes, std::move(purpose));
}

DeviceBuffer::DeviceBuffer(void* data, size_t bytes, std::string purpose)
    : data_(data), bytes_(bytes), purpose_(std::move(purpose)) {}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      purpose_(std::move(other.purpose_)) {}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(purpose_, other.purpose_);
  return *this;
}

DeviceBuffer::~DeviceBuffer() {
  if constexpr (kBuiltWithCuda) {
    if (data_ != nullptr) cuda::Free(data_);
  }
}

absl::Status DeviceBuffer::CopyFromHost(const void* host, size_t bytes) {
  MSA_CHECK(bytes <= bytes_, "copy past the end of device memory");
  if constexpr (kBuiltWithCuda) return CopyStatus(cuda::CopyToDevice(host, bytes, data_), purpose_);
  return CheckCuda();
}

absl::Status DeviceBuffer::CopyToHost(void* host, size_t bytes) const {
  MSA_CHECK(bytes <= bytes_, "copy past the end of device memory");
  if constexpr (kBuiltWithCuda) return CopyStatus(cuda::CopyToHost(data_, bytes, host), purpose_);
  return CheckCuda();
}

}  // namespace msa::kernels
