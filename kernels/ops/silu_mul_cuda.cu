#include "kernels/ops/silu_mul_cuda.h"

#include "kernels/core/cuda_launch.cuh"

namespace msa::kernels::cuda {
namespace {

__global__ void SiluMulKernel(const float* gate, const float* up, int64_t count, float* output) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    // exp never sees a positive argument, so that no gate overflows it.
    const float e = expf(-fabsf(gate[i]));
    const float sigmoid = (gate[i] >= 0.0f ? 1.0f : e) / (1.0f + e);
    output[i] = gate[i] * sigmoid * up[i];
  }
}

}  // namespace

cudaError_t SiluMul(const float* gate, const float* up, int64_t count, float* output) {
  if (count == 0) return cudaSuccess;
  constexpr int64_t kThreads = 256;
  constexpr int64_t kMostBlocks = 4096;
  const int64_t blocks = (count + kThreads - 1) / kThreads;
  return Launch(nullptr, static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks),
                kThreads, 0, SiluMulKernel, gate, up, count, output);
}

}  // namespace msa::kernels::cuda
