#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/core/cuda_api.h"
#include "kernels/core/op_context.h"

namespace msa::kernels {

// OK if ops can run on `device` here. UNIMPLEMENTED: CUDA is not compiled in. FAILED_PRECONDITION:
// it is, but this machine has no driver or no device; or its CPU lacks AVX2. The message says
// which. Cheap after the first call; thread-safe.
absl::Status CheckDeviceAvailable(DeviceKind device);

// OK, or INTERNAL: "`what` on device cuda: " and what the runtime calls the error.
absl::Status CudaStatus(cudaError_t error, absl::string_view what);

// Memory of the CUDA device that the calling thread uses, requested for a purpose, which the
// out-of-memory message names.
class DeviceBuffer {
 public:
  // RESOURCE_EXHAUSTED when there is no memory; without a device as CheckDeviceAvailable.
  static absl::StatusOr<DeviceBuffer> Allocate(size_t bytes, const std::string& purpose);
  DeviceBuffer() = default;  // of no bytes
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  ~DeviceBuffer();

  void* data() const { return data_; }  // not readable on the host
  size_t bytes() const { return bytes_; }

 private:
  DeviceBuffer(void* data, size_t bytes) : data_(data), bytes_(bytes) {}

  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace msa::kernels
