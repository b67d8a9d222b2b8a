#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::kernels {

struct CausalAttentionArgs {
  TensorView<const float, 3> query;  // [T, Hq, D]
  TensorView<const float, 3> key;    // [T, Hkv, D]
  TensorView<const float, 3> value;  // [T, Hkv, D]
  // [N + 1], rows of document n are doc_offsets[n] .. doc_offsets[n + 1].
  absl::Span<const int64_t> doc_offsets;
  // Only query rows [row_begin, row_end) are computed (a slice).
  int64_t row_begin = 0;
  int64_t row_end = 0;
  float scale = 1.0f;           // D^-0.5
  TensorView<float, 3> output;  // [row_end - row_begin, Hq, D]
};

// Softmax attention of ragged documents: a row sees the rows of its own document up to itself. Head
// h reads KV head h / (Hq / Hkv). Keys are visited in ascending order in fixed blocks, so a row's
// result does not depend on its document's company nor on the slice it is computed in (bitwise).
// Extreme scores are treated as in Attend.
absl::Status CausalAttention(const OpContext& context, const CausalAttentionArgs& args);

}  // namespace msa::kernels
