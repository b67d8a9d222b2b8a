#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"
#include "kernels/ops/kv_span.h"

namespace msa::kernels {

// Consecutive query rows of one sequence.
struct AttendGroup {
  // Rows [row_begin, row_end) of query and output.
  int64_t row_begin = 0;
  int64_t row_end = 0;
  // Template prefix, then memory: seen by every row of the group.
  absl::Span<const KvSpan> shared_spans;
  // The sequence's own rows, in order.
  absl::Span<const KvSpan> local_spans;
  // [row_end - row_begin]: how many local rows each query row sees, counted from the first.
  absl::Span<const int32_t> visible;
};

struct AttendArgs {
  TensorView<const float, 3> query;  // [T, Hq, D]
  KvPageShape shape;
  absl::Span<const AttendGroup> groups;
  float scale = 1.0f;           // D^-0.5
  TensorView<float, 3> output;  // [T, Hq, D]
};

// Softmax attention over [shared spans; the first `visible` local rows]. Head h reads KV head h /
// (Hq / Hkv). f32 scores, softmax and accumulation. Keys are visited in the order of the spans, in
// blocks fixed by the pages: a row's result does not depend on other rows, groups or the number of
// threads (bitwise), and a row decoded alone equals the same row in a prefill. A row that sees
// nothing gets zeros. Scores are clamped to the finite range of f32; NaN stays NaN.
absl::Status Attend(const OpContext& context, const AttendArgs& args);

}  // namespace msa::kernels
