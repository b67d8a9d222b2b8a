#include "kernels/core/device.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/cpu_features.h"
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

absl::StatusOr<DeviceBuffer> DeviceBuffer::Allocate(size_t bytes, const std::string& purpose) {
  MSA_RETURN_IF_ERROR(CheckDeviceAvailable(DeviceKind::kCuda));
  void* data = nullptr;
  if constexpr (kBuiltWithCuda) {
    const cudaError_t error = cuda::Allocate(bytes, &data);
    if (error != cudaError_t{}) {
      return absl::ResourceExhaustedError(
          absl::StrCat(purpose, ": ", bytes, " bytes of device memory: ", cuda::ErrorText(error)));
    }
  }
  return DeviceBuffer(data, bytes);
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

DeviceBuffer::~DeviceBuffer() {
  if constexpr (kBuiltWithCuda) {
    if (data_ != nullptr) cuda::Free(data_);
  }
}

}  // namespace msa::kernels
