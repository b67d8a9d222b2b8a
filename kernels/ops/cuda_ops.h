#pragma once

#include <cstdint>

#include "kernels/core/cuda_api.h"
#include "kernels/core/dtype.h"
#include "kernels/core/tensor_view.h"
#include "kernels/ops/kv_span.h"

// The CUDA path of the ops that have one, called by their OP.cc with arguments that have been
// checked: queues the work and returns the error of that. All pointers are to device memory.
namespace msa::kernels::cuda {

cudaError_t Embed(cudaStream_t stream, const MatrixView& table, const int32_t* token_ids,
                  TensorView<float, 2> output);
// ranges [C, 2]: a chunk's first row and its end.
cudaError_t PoolMemory(cudaStream_t stream, TensorView<const float, 3> rows, const int64_t* ranges,
                       int64_t num_chunks, bool normalize, float* output);
cudaError_t RmsNorm(cudaStream_t stream, TensorView<const float, 2> input, const float* weight,
                    float epsilon, float* output);
// angles [positions of the table, D]: cosines, then sines.
cudaError_t Rope(cudaStream_t stream, TensorView<float, 3> heads, const int32_t* positions,
                 const float* angles);
cudaError_t RouterQuery(cudaStream_t stream, TensorView<const float, 3> heads, bool normalize,
                        bool sum_groups, int64_t num_kv_heads, float* output);
cudaError_t SiluMul(cudaStream_t stream, const float* gate, const float* up, int64_t count,
                    float* output);

// Rows of keys and of values, Hkv * D numbers each, `stride` numbers apart.
struct StoredRows {
  const void* keys;
  const void* values;
  DType dtype;
  int64_t stride;
  int64_t num_rows;
};
// To rows first_row and after, counted over the pages.
cudaError_t StoreRows(cudaStream_t stream, const StoredRows& rows, const KvPageShape& shape,
                      void* const* pages, int64_t first_row);

}  // namespace msa::kernels::cuda
