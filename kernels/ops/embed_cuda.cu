#include "kernels/core/cuda_bf16.cuh"
#include "kernels/core/cuda_elementwise.cuh"
#include "kernels/ops/cuda_ops.h"

namespace msa::kernels::cuda {
namespace {

template <class Stored>
__global__ void EmbedKernel(const Stored* table, const int32_t* token_ids, int64_t columns,
                            int64_t count, float* output) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  output[i] = ToF32(table[token_ids[i / columns] * columns + i % columns]);
}

}  // namespace

cudaError_t Embed(cudaStream_t stream, const MatrixView& table, const int32_t* token_ids,
                  TensorView<float, 2> output) {
  const int64_t count = output.shape[0] * table.columns;
  if (table.dtype == DType::kBF16) {
    return LaunchForEach(stream, count, EmbedKernel<uint16_t>,
                         static_cast<const uint16_t*>(table.data), token_ids, table.columns, count,
                         output.data);
  }
  return LaunchForEach(stream, count, EmbedKernel<float>, static_cast<const float*>(table.data),
                       token_ids, table.columns, count, output.data);
}

}  // namespace msa::kernels::cuda
