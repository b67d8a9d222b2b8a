#include "kernels/core/cuda_warp.cuh"
#include "kernels/ops/cuda_ops.h"

namespace msa::kernels::cuda {
namespace {

// One warp per output head, along threadIdx.y: the sum of `group` heads that follow each other.
__global__ void RouterQueryKernel(const float* heads, int64_t num_outputs, int64_t group,
                                  int64_t head_dim, bool normalize, float divisor, float* output) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (index >= num_outputs) return;
  const float* head = heads + index * group * head_dim;
  float* const target = output + index * head_dim;
  for (int64_t h = 0; h < group; ++h, head += head_dim) {
    float length = 1.0f;
    if (normalize) {
      float sum = 0;
      for (int64_t i = threadIdx.x; i < head_dim; i += kWarpSize) sum += head[i] * head[i];
      length = max(sqrtf(WarpReduceSum(sum)), 1e-12f);
    }
    for (int64_t i = threadIdx.x; i < head_dim; i += kWarpSize)
      target[i] = (h == 0 ? 0.0f : target[i]) + head[i] / length;
  }
  for (int64_t i = threadIdx.x; i < head_dim; i += kWarpSize) target[i] /= divisor;
}

}  // namespace

cudaError_t RouterQuery(cudaStream_t stream, TensorView<const float, 3> heads, bool normalize,
                        bool sum_groups, int64_t num_kv_heads, float* output) {
  constexpr unsigned kHeadsPerBlock = 8;
  const auto [rows, num_heads, head_dim] = heads.shape;
  const int64_t num_outputs = rows * (sum_groups ? num_kv_heads : num_heads);
  if (num_outputs == 0) return cudaSuccess;
  return Launch(stream, static_cast<unsigned>((num_outputs + kHeadsPerBlock - 1) / kHeadsPerBlock),
                dim3(kWarpSize, kHeadsPerBlock), 0, RouterQueryKernel, heads.data, num_outputs,
                sum_groups ? num_heads / num_kv_heads : 1, head_dim, normalize,
                sum_groups ? static_cast<float>(num_heads) : 1.0f, output);
}

}  // namespace msa::kernels::cuda
