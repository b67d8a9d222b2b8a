#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/core/op_context.h"

namespace msa::kernels {

// OK if ops can run on `device` here. UNIMPLEMENTED: CUDA is not compiled in. FAILED_PRECONDITION:
// it is, but this machine has no driver or no device; or its CPU lacks AVX2. The message says
// which. Cheap after the first call; thread-safe.
absl::Status CheckDeviceAvailable(DeviceKind device);

// A row-major, densely packed array of rank R in device memory that somebody else owns; not
// readable on the host.
template <class T, int R>
struct DeviceView {
  T* device_data = nullptr;
  std::array<int64_t, R> shape{};
};

// Device memory requested for a purpose, which the out-of-memory message names. Device 0, default
// stream.
class DeviceBuffer {
 public:
  static absl::StatusOr<DeviceBuffer> Allocate(DeviceKind device, size_t bytes,
                                               std::string purpose);
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  ~DeviceBuffer();

  void* device_data() const { return data_; }
  size_t bytes() const { return bytes_; }

  // `bytes` from the buffer's start; at most bytes(). Both wait until the copy is done.
  absl::Status CopyFromHost(const void* host, size_t bytes);
  absl::Status CopyToHost(void* host, size_t bytes) const;

 private:
  DeviceBuffer(void* data, size_t bytes, std::string purpose);

  void* data_;
  size_t bytes_;
  std::string purpose_;
};

}  // namespace msa::kernels
