#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/model/transformer.h"
#include "kernels/ops/kv_span.h"

namespace msa::engine {

// The pages that sequences and the prefix use: attention takes spans of one shape only.
kernels::KvPageShape PageShape(const ModelConfig& config, kernels::DType dtype);

// Keys and values of the template head of every layer, in front of every query: positions 0, 1, …,
// causal among themselves. Computed once per model, read by all CPU ranks. Immutable.
struct TemplatePrefix {
  kernels::KvPageShape shape;
  int64_t num_rows = 0;
  std::vector<std::vector<std::byte>> pages;        // [L], all pages of a layer
  std::vector<std::vector<kernels::KvSpan>> spans;  // [L]
};

absl::StatusOr<TemplatePrefix> ComputeTemplatePrefix(Transformer* transformer,
                                                     absl::Span<const int32_t> head_ids,
                                                     kernels::DType dtype);

}  // namespace msa::engine
