#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

// Starting kernels, and the one word of CUDA that is not C++; tests/cuda_emulation has its own form
// of this file.
namespace msa::kernels::cuda {

// Queues kernel(arguments...) for `blocks` x `threads` threads. The error of the start itself; one
// of the kernel comes with a later call.
template <class... Parameters, class... Arguments>
cudaError_t Launch(cudaStream_t stream, dim3 blocks, dim3 threads, size_t shared_bytes,
                   void (*kernel)(Parameters...), Arguments&&... arguments) {
  kernel<<<blocks, threads, shared_bytes, stream>>>(static_cast<Parameters>(arguments)...);
  return cudaGetLastError();
}

// The block's dynamic shared memory, aligned to 128 bytes.
__device__ inline std::byte* SharedMemory() {
  extern __shared__ __align__(128) std::byte shared_memory[];
  return shared_memory;
}

}  // namespace msa::kernels::cuda
