#pragma once

#include <cstddef>
#include <string>

#include "kernels/core/cuda_api.h"

// The few calls of the CUDA runtime that are not kernels; defined only where kBuiltWithCuda. Device
// 0, default stream.
namespace msa::kernels::cuda {

// Devices that can be used, and if there are none why. A machine without a driver has 0.
int NumDevices(std::string* why_none);
std::string ErrorText(cudaError_t error);
cudaError_t Allocate(size_t bytes, void** data);
void Free(void* data);
cudaError_t CopyToDevice(const void* host, size_t bytes, void* device);
// Waits for the kernels queued before it.
cudaError_t CopyToHost(const void* device, size_t bytes, void* host);

}  // namespace msa::kernels::cuda
