#include "kernels/core/device_cuda.h"

namespace msa::kernels::cuda {

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

cudaError_t Allocate(size_t bytes, void** data) { return cudaMalloc(data, bytes); }

void Free(void* data) { cudaFree(data); }

cudaError_t CopyToDevice(const void* host, size_t bytes, void* device) {
  return cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice);
}

cudaError_t CopyToHost(const void* device, size_t bytes, void* host) {
  return cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost);
}

}  // namespace msa::kernels::cuda
