#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::kernels {

struct PoolMemoryArgs {
  TensorView<const float, 3> rows;  // [T, Hkv, D], a document batch's keys, values or router keys
  absl::Span<const int64_t> doc_offsets;  // [N + 1]
  int64_t tokens_per_chunk = 0;           // P
  bool normalize = false;       // L2-normalise every head after pooling (router keys under cosine)
  TensorView<float, 3> output;  // [C, Hkv, D], C = sum over documents of ceil(tokens / P)
};

// Mean of each chunk of P tokens of a document (the last may be shorter; the mean is over the
// tokens it has), accumulated in f32 in token order; then, if asked, output /= max(|output|_2,
// 1e-12) per head.
absl::Status PoolMemory(const OpContext& context, const PoolMemoryArgs& args);

}  // namespace msa::kernels
