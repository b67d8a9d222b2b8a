#pragma once

#include "absl/status/status.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::kernels {

struct RouterQueryArgs {
  // [T, Hq, D]: router projection of the normed layer input (or attention queries).
  TensorView<const float, 3> heads;
  // L2-normalise every head first (cosine); |x| is clamped to at least 1e-12.
  bool normalize = true;
  // Head mean: sum the normalised heads of each KV head and divide by Hq.
  bool sum_groups = true;
  int64_t num_kv_heads = 0;     // Hkv
  TensorView<float, 2> output;  // [T, Hkv * D] if sum_groups, else [T, Hq * D]
};

// What ScoreChunks takes as `query`: q~[t, g] = (1 / Hq) * sum over heads h of KV head g of
// unit(heads[t, h]).
absl::Status RouterQuery(const OpContext& context, const RouterQueryArgs& args);

}  // namespace msa::kernels
