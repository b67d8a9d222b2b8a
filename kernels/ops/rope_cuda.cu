#include "kernels/core/cuda_elementwise.cuh"
#include "kernels/ops/cuda_ops.h"

namespace msa::kernels::cuda {
namespace {

// One thread per pair of values.
__global__ void RopeKernel(float* heads, int64_t num_pairs, int64_t num_heads, int64_t half,
                           const int32_t* positions, const float* angles) {
  const int64_t pair = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pair >= num_pairs) return;
  const int64_t head = pair / half;
  const int64_t i = pair % half;
  const float* const cosines = angles + positions[head / num_heads] * 2 * half;
  const float cosine = cosines[i];
  const float sine = cosines[half + i];
  float* const first = heads + head * 2 * half + i;
  float* const second = first + half;
  const float x = *first;
  const float y = *second;
  // Not contracted, as on the CPU.
  *first = __fsub_rn(__fmul_rn(x, cosine), __fmul_rn(y, sine));
  *second = __fadd_rn(__fmul_rn(y, cosine), __fmul_rn(x, sine));
}

}  // namespace

cudaError_t Rope(cudaStream_t stream, TensorView<float, 3> heads, const int32_t* positions,
                 const float* angles) {
  const auto [rows, num_heads, head_dim] = heads.shape;
  const int64_t num_pairs = rows * num_heads * (head_dim / 2);
  return LaunchForEach(stream, num_pairs, RopeKernel, heads.data, num_pairs, num_heads,
                       head_dim / 2, positions, angles);
}

}  // namespace msa::kernels::cuda
