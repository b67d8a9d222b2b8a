#include "kernels/core/device_cuda.h"

namespace msa::kernels::cuda {
namespace {

// The runtime keeps an error for the next question after one, which a later launch asks.
cudaError_t Handled(cudaError_t error) {
  if (error != cudaSuccess) (void)cudaGetLastError();
  return error;
}

}  // namespace

int NumDevices(std::string* why_none) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return count;
  // Without a driver the runtime says cudaErrorInsufficientDriver and leaves `count` as it was.
  *why_none = error == cudaErrorInsufficientDriver
                  ? "no NVIDIA driver, or one too old for this build"
              : error == cudaSuccess ? "the driver shows no device"
                                     : ErrorText(error);
  return 0;
}

std::string ErrorText(cudaError_t error) { return cudaGetErrorString(error); }

cudaError_t Allocate(size_t bytes, void** data) { return Handled(cudaMalloc(data, bytes)); }
void Free(void* data) { cudaFree(data); }
cudaError_t AllocatePinned(size_t bytes, void** data) {
  return Handled(cudaMallocHost(data, bytes));
}
void FreePinned(void* data) { cudaFreeHost(data); }

cudaError_t CreateStream(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking);
}
void DestroyStream(cudaStream_t stream) { cudaStreamDestroy(stream); }
cudaError_t Synchronize(cudaStream_t stream) { return cudaStreamSynchronize(stream); }
cudaError_t CreateEvent(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDisableTiming);
}
void DestroyEvent(cudaEvent_t event) { cudaEventDestroy(event); }
cudaError_t Record(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecord(event, stream);
}
cudaError_t Wait(cudaEvent_t event) { return cudaEventSynchronize(event); }

cudaError_t CopyToDevice(cudaStream_t stream, const void* host, size_t bytes, void* device) {
  return cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream);
}
cudaError_t CopyToHost(cudaStream_t stream, const void* device, size_t bytes, void* host) {
  return cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream);
}

}  // namespace msa::kernels::cuda
