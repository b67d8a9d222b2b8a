#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

// In place of kernels/core/cuda_launch.cuh in a build with MSA_CUDA=EMULATED: runs the kernel at
// once, on the calling thread.
namespace msa::kernels::cuda {

template <class... Parameters, class... Arguments>
cudaError_t Launch(cudaStream_t /*stream*/, dim3 blocks, dim3 threads, size_t shared_bytes,
                   void (*kernel)(Parameters...), Arguments&&... arguments) {
  cuda_emulation::RunBlocks({blocks.x, blocks.y, blocks.z}, {threads.x, threads.y, threads.z},
                            shared_bytes, [&] { kernel(static_cast<Parameters>(arguments)...); });
  return cudaSuccess;
}

// The block's dynamic shared memory, aligned to 128 bytes.
inline std::byte* SharedMemory() { return cuda_emulation::DynamicSharedMemory(); }

}  // namespace msa::kernels::cuda
