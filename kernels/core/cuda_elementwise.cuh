#pragma once

#include <cstdint>

#include "kernels/core/cuda_launch.cuh"

namespace msa::kernels::cuda {

// Queues a kernel that gives each value a thread of its own: thread blockIdx.x * blockDim.x +
// threadIdx.x, where that is below `count`; the kernel checks it.
template <class... Parameters, class... Arguments>
cudaError_t LaunchForEach(cudaStream_t stream, int64_t count, void (*kernel)(Parameters...),
                          Arguments&&... arguments) {
  constexpr int64_t kThreads = 256;
  if (count == 0) return cudaSuccess;
  return Launch(stream, static_cast<unsigned>((count + kThreads - 1) / kThreads), kThreads, 0,
                kernel, std::forward<Arguments>(arguments)...);
}

}  // namespace msa::kernels::cuda
