#pragma once

#include <cstddef>
#include <string>

#include "kernels/core/cuda_api.h"

// The calls of the CUDA runtime that are not kernels, on the device that the calling thread uses;
// defined only where kBuiltWithCuda.
namespace msa::kernels::cuda {

// Devices that can be used, and if there are none why. A machine without a driver has 0.
int NumDevices(std::string* why_none);
std::string ErrorText(cudaError_t error);

cudaError_t Allocate(size_t bytes, void** data);
void Free(void* data);
// Host memory that copies to and from the device need not go around.
cudaError_t AllocatePinned(size_t bytes, void** data);
void FreePinned(void* data);

cudaError_t CreateStream(cudaStream_t* stream);
void DestroyStream(cudaStream_t stream);
cudaError_t Synchronize(cudaStream_t stream);
cudaError_t CreateEvent(cudaEvent_t* event);
void DestroyEvent(cudaEvent_t event);
cudaError_t Record(cudaEvent_t event, cudaStream_t stream);
cudaError_t Wait(cudaEvent_t event);

// Queued; the host memory is read or written when the stream gets there.
cudaError_t CopyToDevice(cudaStream_t stream, const void* host, size_t bytes, void* device);
cudaError_t CopyToHost(cudaStream_t stream, const void* device, size_t bytes, void* host);

}  // namespace msa::kernels::cuda
