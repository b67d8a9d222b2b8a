#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"
#include "kernels/ops/kv_span.h"

namespace msa::kernels {

struct GatherMemoryArgs {
  // [C, 2 (key, value), Hkv * D] of one document and layer, in `content_dtype`.
  const void* content = nullptr;
  DType content_dtype = DType::kBF16;
  int64_t num_chunks = 0;  // C
  KvPageShape shape;
  absl::Span<void* const> pages;  // the sequence's memory pages of this layer
  int64_t first_row = 0;          // chunk c goes to row first_row + c, counted over the pages
};

// Copies pooled keys and values into pages (converting the dtype: widening is exact, narrowing
// rounds to nearest even).
absl::Status GatherMemory(const OpContext& context, const GatherMemoryArgs& args);

struct StoreLocalArgs {
  TensorView<const float, 3> key;    // [T, Hkv, D]
  TensorView<const float, 3> value;  // [T, Hkv, D]
  KvPageShape shape;
  absl::Span<void* const> pages;  // the sequence's local pages of this layer
  int64_t first_row = 0;          // row t goes to row first_row + t, counted over the pages
};

// Writes a sequence's own keys and values into its pages.
absl::Status StoreLocal(const OpContext& context, const StoreLocalArgs& args);

}  // namespace msa::kernels
