#include "kernels/core/stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/core/device_cuda.h"
#include "kernels/core/status_macros.h"

namespace msa::kernels {
namespace {

constexpr char kUploads[] = "values for kernels";

}  // namespace

absl::StatusOr<std::unique_ptr<Stream>> Stream::Create() {
  MSA_RETURN_IF_ERROR(CheckDeviceAvailable(DeviceKind::kCuda));
  std::unique_ptr<Stream> stream(new Stream());
  if constexpr (kBuiltWithCuda) {
    MSA_RETURN_IF_ERROR(CudaStatus(cuda::CreateStream(&stream->handle_), "a stream"));
    for (cudaEvent_t& event : stream->half_done_)
      MSA_RETURN_IF_ERROR(CudaStatus(cuda::CreateEvent(&event), "an event"));
    MSA_RETURN_IF_ERROR(stream->Allocate(kUploadBytes));
  }
  return stream;
}

Stream::~Stream() {
  if constexpr (kBuiltWithCuda) {
    FreeStaged();
    for (const cudaEvent_t event : half_done_) {
      if (event != nullptr) cuda::DestroyEvent(event);
    }
    if (handle_ != nullptr) cuda::DestroyStream(handle_);
  }
}

absl::Status Stream::Synchronize() {
  if constexpr (kBuiltWithCuda) return CudaStatus(cuda::Synchronize(handle_), "a stream");
  return absl::OkStatus();
}

absl::Status Stream::CopyFromHost(const void* host, size_t bytes, void* data) {
  if constexpr (kBuiltWithCuda) {
    MSA_RETURN_IF_ERROR(
        CudaStatus(cuda::CopyToDevice(handle_, host, bytes, data), "a copy to the device"));
  }
  return Synchronize();
}

absl::Status Stream::CopyToHost(const void* data, size_t bytes, void* host) {
  if constexpr (kBuiltWithCuda) {
    MSA_RETURN_IF_ERROR(
        CudaStatus(cuda::CopyToHost(handle_, data, bytes, host), "a copy to the host"));
  }
  return Synchronize();
}

absl::Status Stream::Allocate(size_t upload_bytes) {
  if constexpr (kBuiltWithCuda) {
    void* staged = nullptr;
    MSA_RETURN_IF_ERROR(CudaStatus(cuda::AllocatePinned(upload_bytes, &staged), kUploads));
    staged_ = static_cast<std::byte*>(staged);
    auto uploaded = DeviceBuffer::Allocate(upload_bytes, kUploads);
    if (!uploaded.ok()) return uploaded.status();
    uploaded_ = *std::move(uploaded);
    half_bytes_ = upload_bytes / 2;
    half_ = 0;
    used_ = 0;
  }
  return absl::OkStatus();
}

void Stream::FreeStaged() {
  if constexpr (kBuiltWithCuda) {
    if (handle_ != nullptr) (void)cuda::Synchronize(handle_);
    if (staged_ != nullptr) cuda::FreePinned(std::exchange(staged_, nullptr));
    half_bytes_ = 0;
  }
}

absl::StatusOr<const void*> Stream::UploadBytes(const void* host, size_t bytes) {
  if constexpr (kBuiltWithCuda) {
    if (bytes > half_bytes_) {
      FreeStaged();
      // What was uploaded to it may not have been used yet.
      outgrown_.push_back(std::exchange(uploaded_, DeviceBuffer()));
      MSA_RETURN_IF_ERROR(Allocate(std::max(kUploadBytes, 4 * ((bytes + 15) / 16 * 16))));
    }
    if (used_ + bytes > half_bytes_) {
      MSA_RETURN_IF_ERROR(CudaStatus(cuda::Record(half_done_[half_], handle_), kUploads));
      half_ = 1 - half_;
      used_ = 0;
      // Of an event that was never recorded there is nothing to wait for.
      MSA_RETURN_IF_ERROR(CudaStatus(cuda::Wait(half_done_[half_]), kUploads));
    }
    const size_t at = half_ * half_bytes_ + used_;
    used_ += (bytes + 15) / 16 * 16;
    if (bytes > 0) std::memcpy(staged_ + at, host, bytes);
    std::byte* const copy = static_cast<std::byte*>(uploaded_.data()) + at;
    MSA_RETURN_IF_ERROR(
        CudaStatus(cuda::CopyToDevice(handle_, staged_ + at, bytes, copy), kUploads));
    return copy;
  }
  return CheckDeviceAvailable(DeviceKind::kCuda);
}

}  // namespace msa::kernels
