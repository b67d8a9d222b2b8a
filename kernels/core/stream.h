#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/core/cuda_api.h"
#include "kernels/core/device.h"

namespace msa::kernels {

// A queue of work on a CUDA device, done in the order in which it was given. Used by one thread at
// a time, which uses the stream's device.
class Stream {
 public:
  // Of the device that the calling thread uses. As DeviceBuffer::Allocate where there is none.
  static absl::StatusOr<std::unique_ptr<Stream>> Create();
  ~Stream();  // waits

  cudaStream_t handle() const { return handle_; }

  // Waits until everything that was given is done. INTERNAL when something failed.
  absl::Status Synchronize();

  // Between host and device memory, behind what was given before; done when they return. INTERNAL
  // when something failed.
  absl::Status CopyFromHost(const void* host, size_t bytes, void* data);
  absl::Status CopyToHost(const void* data, size_t bytes, void* host);

  // Host values for work that is given before the next kUploadBytes / 2 are uploaded: a copy in
  // device memory, aligned to 16 bytes. Waits only where the ring is full of what the device has
  // yet to read.
  template <class T>
  absl::StatusOr<const T*> Upload(absl::Span<const T> values) {
    static_assert(alignof(T) <= 16);
    auto copy = UploadBytes(values.data(), values.size() * sizeof(T));
    if (!copy.ok()) return copy.status();
    return static_cast<const T*>(*copy);
  }

 private:
  // More where one array has more than half of it.
  static constexpr size_t kUploadBytes = size_t{8} << 20;

  Stream() = default;
  absl::Status Allocate(size_t upload_bytes);
  void FreeStaged();  // waits
  absl::StatusOr<const void*> UploadBytes(const void* host, size_t bytes);

  cudaStream_t handle_{};
  // A ring in two halves, here and on the device; a half is written again when the work that read
  // it is done.
  size_t half_bytes_ = 0;
  std::byte* staged_ = nullptr;  // [2 * half_bytes_], pinned
  DeviceBuffer uploaded_;        // likewise on the device
  std::vector<DeviceBuffer> outgrown_;
  size_t half_ = 0;
  size_t used_ = 0;  // of the half
  std::array<cudaEvent_t, 2> half_done_{};
};

}  // namespace msa::kernels
