#pragma once

// Whether this build has CUDA, and the plain types that its launchers speak. The only place that
// asks the preprocessor.
#if defined(MSA_WITH_CUDA)
#include <cuda_runtime_api.h>
namespace msa::kernels {
inline constexpr bool kBuiltWithCuda = true;
}
#else
using cudaError_t = int;
using cudaEvent_t = void*;
using cudaStream_t = void*;
namespace msa::kernels {
inline constexpr bool kBuiltWithCuda = false;
}
#endif
