#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/model/model_config.h"
#include "engine/model/weights.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"
#include "kernels/ops/rope.h"

namespace msa::engine {

// What a layer makes of its input before attention. Empty views are not computed.
struct Projections {
  kernels::TensorView<float, 3> query{};       // [T, Hq, D], normed, with RoPE
  kernels::TensorView<float, 3> key{};         // [T, Hkv, D], normed, with RoPE
  kernels::TensorView<float, 3> value{};       // [T, Hkv, D]
  kernels::TensorView<float, 3> router_key{};  // [T, Hkv, D], MSA layers: no norm, no RoPE
  kernels::TensorView<float, 2>
      router_query{};  // [T, W], MSA layers: what ScoreChunks takes, see router_query_width
};

// One model on one rank: the parts of a layer that do not depend on who attends to what. Attention
// itself is the caller's: documents attend to themselves, prompts and answers to pages. Holds
// scratch for at most kMaxRows rows and the angles of the longest text so far, so one thread at a
// time; results per row do not depend on the other rows of a call. Formulas: Qwen3 with MSA's router projections.
class Transformer {
 public:
  static constexpr int64_t kMaxRows = 256;  // of one call

  // `config` and `weights` must outlive the object.
  Transformer(const ModelConfig* config, const Weights* weights, kernels::OpContext context,
              kernels::ComputeDType compute);

  const ModelConfig& config() const { return *config_; }
  const kernels::OpContext& context() const { return context_; }

  // W of router queries: Hkv * D for the head mean (heads summed per KV head), Hq * D for the head
  // maximum.
  int64_t router_query_width() const;
  int64_t scratch_bytes() const;

  // hidden [T, M] = embedding rows.
  absl::Status Embed(absl::Span<const int32_t> token_ids,
                     kernels::TensorView<float, 2> hidden) const;

  // Norm, projections, per-head norms, RoPE. hidden [T, M], T <= kMaxRows.
  absl::Status Project(int64_t layer, kernels::TensorView<const float, 2> hidden,
                       absl::Span<const int32_t> positions, const Projections& out);

  // Output projection and MLP: hidden += attention * Wo; hidden += mlp(norm(hidden)). attention [T,
  // Hq * D].
  absl::Status Mix(int64_t layer, kernels::TensorView<const float, 2> attention,
                   kernels::TensorView<float, 2> hidden);

  // logits [T, V] of final hidden states [T, M].
  absl::Status Logits(kernels::TensorView<const float, 2> hidden,
                      kernels::TensorView<float, 2> logits);

 private:
  absl::Status MatMul(kernels::TensorView<const float, 2> input, const kernels::MatrixView& weight,
                      float* output, bool add = false) const;
  struct Product {
    const kernels::MatrixView& weight;
    float* output;  // null: not wanted
  };
  absl::Status MatMulEach(kernels::TensorView<const float, 2> input,
                          std::initializer_list<Product> products) const;
  absl::Status NormHeads(float* heads, int64_t num_rows, int64_t num_heads,
                         kernels::TensorView<const float, 1> weight) const;

  const ModelConfig* config_;
  const Weights* weights_;
  kernels::OpContext context_;
  kernels::ComputeDType compute_;
  kernels::RopeTable rope_table_;    // of the positions seen so far
  std::vector<float> normed_;        // [kMaxRows, M]
  std::vector<float> gate_;          // [kMaxRows, F]
  std::vector<float> up_;            // [kMaxRows, F]
  std::vector<float> router_heads_;  // [kMaxRows, Hq * D]
};

}  // namespace msa::engine
