#include "kernels/core/cuda_bf16.cuh"
#include "kernels/core/cuda_elementwise.cuh"
#include "kernels/ops/cuda_ops.h"

namespace msa::kernels::cuda {
namespace {

// One thread per value; values of keys come before those of values.
template <class From, class To>
__global__ void StoreRowsKernel(const From* keys, const From* values, int64_t row_stride,
                                int64_t count, KvPageShape shape, void* const* pages,
                                int64_t first_row) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= 2 * count) return;
  const int64_t width = shape.num_kv_heads * shape.head_dim;
  const bool is_value = i >= count;
  const int64_t at = is_value ? i - count : i;
  const int64_t row = at / width, column = at % width;
  const int64_t target_row = first_row + row;
  const int64_t plane = (is_value ? shape.num_kv_heads : 0) + column / shape.head_dim;
  auto* const page = static_cast<To*>(pages[target_row / shape.rows_per_page]);
  const int64_t position = plane * shape.rows_per_page + target_row % shape.rows_per_page;
  page[position * shape.head_dim + column % shape.head_dim] =
      ConvertTo<To>::Of((is_value ? values : keys)[row * row_stride + column]);
}

template <class From, class To>
cudaError_t Store(cudaStream_t stream, const StoredRows& rows, const KvPageShape& shape,
                  void* const* pages, int64_t first_row) {
  const int64_t count = rows.num_rows * shape.num_kv_heads * shape.head_dim;
  return LaunchForEach(stream, 2 * count, StoreRowsKernel<From, To>,
                       static_cast<const From*>(rows.keys), static_cast<const From*>(rows.values),
                       rows.stride, count, shape, pages, first_row);
}

}  // namespace

cudaError_t StoreRows(cudaStream_t stream, const StoredRows& rows, const KvPageShape& shape,
                      void* const* pages, int64_t first_row) {
  if (rows.dtype == DType::kF32) {
    return shape.dtype == DType::kF32
               ? Store<float, float>(stream, rows, shape, pages, first_row)
               : Store<float, uint16_t>(stream, rows, shape, pages, first_row);
  }
  return shape.dtype == DType::kF32
             ? Store<uint16_t, float>(stream, rows, shape, pages, first_row)
             : Store<uint16_t, uint16_t>(stream, rows, shape, pages, first_row);
}

}  // namespace msa::kernels::cuda
