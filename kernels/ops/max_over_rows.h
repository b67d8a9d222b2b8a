#pragma once

#include <cstddef>

namespace msa::kernels {

// out[j] = the maximum of rows[t * stride + j] over t < num_rows, for j < count. NaN is passed
// over; -infinity where nothing is left.
void MaxOverRows(const float* rows, size_t num_rows, size_t stride, size_t count, float* out);

}  // namespace msa::kernels
