#pragma once

#include <cstddef>

#include "kernels/core/dtype.h"

namespace msa::kernels {

// Copies `count` values between f32 and bf16 storage: widening is exact, narrowing rounds as ToBF16
// does.
void ConvertRow(const void* source, DType source_dtype, size_t count, void* target,
                DType target_dtype);

}  // namespace msa::kernels
