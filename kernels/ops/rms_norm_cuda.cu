#include "kernels/core/cuda_warp.cuh"
#include "kernels/ops/cuda_ops.h"

namespace msa::kernels::cuda {
namespace {

// kWarps warps share a row; rows lie along threadIdx.y. A thread adds every (32 * kWarps)-th square,
// then lanes are added in pairs, then the warps' sums in their order.
template <int kWarps>
__global__ void RmsNormKernel(const float* input, const float* weight, int64_t num_rows,
                              int64_t columns, float epsilon, float* output) {
  constexpr int kThreads = kWarps * kWarpSize;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= num_rows) return;  // with kWarps > 1 a block has one row
  const float* const from = input + row * columns;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < columns; i += kThreads) sum += from[i] * from[i];
  sum = WarpReduceSum(sum);
  if constexpr (kWarps > 1) {
    float* const sums = reinterpret_cast<float*>(SharedMemory());
    if (threadIdx.x % kWarpSize == 0) sums[threadIdx.x / kWarpSize] = sum;
    __syncthreads();
    sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += sums[warp];
  }
  const float factor = 1.0f / sqrtf(sum / static_cast<float>(columns) + epsilon);
  float* const to = output + row * columns;
  for (int64_t i = threadIdx.x; i < columns; i += kThreads) to[i] = from[i] * factor * weight[i];
}

}  // namespace

cudaError_t RmsNorm(cudaStream_t stream, TensorView<const float, 2> input, const float* weight,
                    float epsilon, float* output) {
  const auto [rows, columns] = input.shape;
  if (rows == 0) return cudaSuccess;
  constexpr int64_t kMostColumnsOfAWarp = 512;
  constexpr int kRowsPerBlock = 8, kWarpsPerRow = 8;
  if (columns <= kMostColumnsOfAWarp) {
    return Launch(stream, static_cast<unsigned>((rows + kRowsPerBlock - 1) / kRowsPerBlock),
                  dim3(kWarpSize, kRowsPerBlock), 0, RmsNormKernel<1>, input.data, weight, rows,
                  columns, epsilon, output);
  }
  return Launch(stream, static_cast<unsigned>(rows), kWarpsPerRow * kWarpSize,
                kWarpsPerRow * sizeof(float), RmsNormKernel<kWarpsPerRow>, input.data, weight, rows,
                columns, epsilon, output);
}

}  // namespace msa::kernels::cuda
