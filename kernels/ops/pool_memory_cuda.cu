#include "kernels/core/cuda_warp.cuh"
#include "kernels/ops/cuda_ops.h"

namespace msa::kernels::cuda {
namespace {

// One warp per head of a chunk, along threadIdx.y. `ranges` [C, 2]: first row, end.
__global__ void PoolMemoryKernel(const float* rows, const int64_t* ranges, int64_t num_outputs,
                                 int64_t num_heads, int64_t head_dim, bool normalize,
                                 float* output) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (index >= num_outputs) return;
  const int64_t begin = ranges[index / num_heads * 2];
  const int64_t end = ranges[index / num_heads * 2 + 1];
  const float* const head = rows + index % num_heads * head_dim;
  const int64_t stride = num_heads * head_dim;
  float* const target = output + index * head_dim;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < head_dim; i += kWarpSize) {
    float sum = head[begin * stride + i];
    for (int64_t t = begin + 1; t < end; ++t) sum += head[t * stride + i];
    const float mean = sum / static_cast<float>(end - begin);
    squares += mean * mean;
    target[i] = mean;
  }
  if (!normalize) return;
  const float length = max(sqrtf(WarpReduceSum(squares)), 1e-12f);
  for (int64_t i = threadIdx.x; i < head_dim; i += kWarpSize) target[i] /= length;
}

}  // namespace

cudaError_t PoolMemory(cudaStream_t stream, TensorView<const float, 3> rows, const int64_t* ranges,
                       int64_t num_chunks, bool normalize, float* output) {
  constexpr unsigned kHeadsPerBlock = 8;
  const auto [num_rows, num_heads, head_dim] = rows.shape;
  const int64_t num_outputs = num_chunks * num_heads;
  if (num_outputs == 0) return cudaSuccess;
  return Launch(stream, static_cast<unsigned>((num_outputs + kHeadsPerBlock - 1) / kHeadsPerBlock),
                dim3(kWarpSize, kHeadsPerBlock), 0, PoolMemoryKernel, rows.data, ranges,
                num_outputs, num_heads, head_dim, normalize, output);
}

}  // namespace msa::kernels::cuda
