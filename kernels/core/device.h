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

// Memory of a device, requested for a purpose, which the out-of-memory message names. On a CUDA
// machine that of the device that the calling thread uses; on the CPU as LargeArray has it.
class Buffer {
 public:
  // RESOURCE_EXHAUSTED when there is no memory; else as CheckDeviceAvailable.
  static absl::StatusOr<Buffer> Allocate(DeviceKind device, size_t bytes,
                                         const std::string& purpose);
  Buffer() = default;  // of no bytes
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  Buffer(DeviceKind device, void* data, size_t bytes);

  DeviceKind device_ = DeviceKind::kCpu;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Between host memory and the context's device, behind the work that its stream has; done when they
// return. `what` is copied, for the message of an error.
absl::Status CopyFromHost(const OpContext& context, const void* host, size_t bytes, void* data,
                          absl::string_view what);
absl::Status CopyToHost(const OpContext& context, const void* data, size_t bytes, void* host,
                        absl::string_view what);

}  // namespace msa::kernels
