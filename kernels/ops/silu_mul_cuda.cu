#include "kernels/core/cuda_elementwise.cuh"
#include "kernels/ops/cuda_ops.h"

namespace msa::kernels::cuda {
namespace {

__global__ void SiluMulKernel(const float* gate, const float* up, int64_t count, float* output) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  // exp never sees a positive argument, so that no gate overflows it.
  const float e = expf(-fabsf(gate[i]));
  const float sigmoid = (gate[i] >= 0.0f ? 1.0f : e) / (1.0f + e);
  output[i] = gate[i] * sigmoid * up[i];
}

}  // namespace

cudaError_t SiluMul(cudaStream_t stream, const float* gate, const float* up, int64_t count,
                    float* output) {
  return LaunchForEach(stream, count, SiluMulKernel, gate, up, count, output);
}

}  // namespace msa::kernels::cuda
