#pragma once

#include <cstdint>

#include "kernels/core/cuda_api.h"

namespace msa::kernels::cuda {

// output[i] = gate[i] * sigmoid(gate[i]) * up[i] for i < count, all in device memory; default
// stream. Defined only where kBuiltWithCuda.
cudaError_t SiluMul(const float* gate, const float* up, int64_t count, float* output);

}  // namespace msa::kernels::cuda
