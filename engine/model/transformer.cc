#include "engine/model/transformer.h"

#include <algorithm>
#include <array>

#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/ops/embed.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/router_query.h"
#include "kernels/ops/silu_mul.h"

namespace msa::engine {

using kernels::TensorView;

Transformer::Transformer(const ModelConfig* config, const Weights* weights,
                         kernels::OpContext context, kernels::ComputeDType compute)
    : config_(config),
      weights_(weights),
      context_(context),
      compute_(compute),
      rope_table_(config->head_dim, config->rope_theta, config->max_positions),
      normed_(static_cast<size_t>(kMaxRows * config->hidden_size)),
      gate_(static_cast<size_t>(kMaxRows * config->ffn_size)),
      up_(gate_.size()),
      router_heads_(
          static_cast<size_t>(config->msa_layers.empty() ? 0 : kMaxRows * config->query_width())) {}

int64_t Transformer::router_query_width() const {
  return config_->head_reduce == kernels::HeadReduce::kMean ? config_->kv_width()
                                                            : config_->query_width();
}

int64_t Transformer::scratch_bytes() const {
  return static_cast<int64_t>((normed_.size() + gate_.size() + up_.size() + router_heads_.size()) *
                              sizeof(float)) +
         rope_table_.bytes();
}

absl::Status Transformer::Embed(absl::Span<const int32_t> token_ids,
                                TensorView<float, 2> hidden) const {
  return kernels::Embed(context_, weights_->embedding, token_ids, hidden);
}

absl::Status Transformer::Project(int64_t layer, TensorView<const float, 2> hidden,
                                  absl::Span<const int32_t> positions, const Projections& out) {
  const ModelConfig& c = *config_;
  const LayerWeights& w = weights_->layers[static_cast<size_t>(layer)];
  const int64_t rows = hidden.shape[0];
  MSA_CHECK(rows <= kMaxRows, "a slice fits the scratch");
  if (!positions.empty()) {
    const int32_t last = *std::max_element(positions.begin(), positions.end());
    MSA_RETURN_IF_ERROR(rope_table_.Extend(context_, int64_t{last} + 1));
  }
  MSA_RETURN_IF_ERROR(kernels::RmsNorm(context_, hidden, w.input_norm, c.rms_epsilon,
                                       {normed_.data(), {rows, c.hidden_size}}));
  const TensorView<const float, 2> normed{normed_.data(), {rows, c.hidden_size}};

  // A router shared with attention routes with its queries, and its keys are pooled by the caller.
  const bool routes = out.router_query.data != nullptr;
  float* query = out.query.data;
  if (query == nullptr && routes && !c.decouple_router) query = router_heads_.data();
  float* const router_heads = routes && c.decouple_router ? router_heads_.data() : nullptr;
  MSA_RETURN_IF_ERROR(MatMulEach(normed, {{w.query, query},
                                          {w.key, out.key.data},
                                          {w.value, out.value.data},
                                          {w.router_key, out.router_key.data},
                                          {w.router_query, router_heads}}));
  if (query != nullptr) {
    MSA_RETURN_IF_ERROR(NormHeads(query, rows, c.num_query_heads, w.query_norm));
    MSA_RETURN_IF_ERROR(kernels::Rope(context_, {query, {rows, c.num_query_heads, c.head_dim}},
                                      positions, rope_table_));
  }
  if (out.key.data != nullptr) {
    MSA_RETURN_IF_ERROR(NormHeads(out.key.data, rows, c.num_kv_heads, w.key_norm));
    MSA_RETURN_IF_ERROR(kernels::Rope(context_, out.key, positions, rope_table_));
  }
  if (routes) {
    MSA_RETURN_IF_ERROR(
        kernels::RouterQuery(context_, {.heads = {router_heads != nullptr ? router_heads : query,
                                                  {rows, c.num_query_heads, c.head_dim}},
                                        .normalize = c.cosine,
                                        .sum_groups = c.head_reduce == kernels::HeadReduce::kMean,
                                        .num_kv_heads = c.num_kv_heads,
                                        .output = out.router_query}));
  }
  return absl::OkStatus();
}

absl::Status Transformer::Mix(int64_t layer, TensorView<const float, 2> attention,
                              TensorView<float, 2> hidden) {
  const ModelConfig& c = *config_;
  const LayerWeights& w = weights_->layers[static_cast<size_t>(layer)];
  const int64_t rows = hidden.shape[0];
  MSA_CHECK(rows <= kMaxRows, "a slice fits the scratch");
  MSA_RETURN_IF_ERROR(MatMul(attention, w.output, hidden.data, /*add=*/true));
  MSA_RETURN_IF_ERROR(kernels::RmsNorm(context_, {hidden.data, hidden.shape}, w.post_attention_norm,
                                       c.rms_epsilon, {normed_.data(), {rows, c.hidden_size}}));
  const TensorView<const float, 2> normed{normed_.data(), {rows, c.hidden_size}};
  MSA_RETURN_IF_ERROR(MatMulEach(normed, {{w.gate, gate_.data()}, {w.up, up_.data()}}));
  const TensorView<const float, 2> gate{gate_.data(), {rows, c.ffn_size}};
  MSA_RETURN_IF_ERROR(
      kernels::SiluMul(context_, gate, {up_.data(), gate.shape}, {gate_.data(), gate.shape}));
  return MatMul(gate, w.down, hidden.data, /*add=*/true);
}

absl::Status Transformer::Logits(TensorView<const float, 2> hidden, TensorView<float, 2> logits) {
  const int64_t rows = hidden.shape[0];
  MSA_CHECK(rows <= kMaxRows, "a batch fits the scratch");
  MSA_RETURN_IF_ERROR(kernels::RmsNorm(context_, hidden, weights_->final_norm, config_->rms_epsilon,
                                       {normed_.data(), {rows, config_->hidden_size}}));
  return MatMul({normed_.data(), {rows, config_->hidden_size}}, weights_->lm_head, logits.data);
}

absl::Status Transformer::MatMul(TensorView<const float, 2> input,
                                 const kernels::MatrixView& weight, float* output, bool add) const {
  return kernels::MatMul(context_, {.input = input,
                                    .weight = weight,
                                    .output = {output, {input.shape[0], weight.rows}},
                                    .add_to_output = add,
                                    .compute = compute_});
}

absl::Status Transformer::MatMulEach(TensorView<const float, 2> input,
                                     std::initializer_list<Product> products) const {
  std::array<kernels::MatMulProduct, 8> wanted;
  size_t count = 0;
  for (const Product& product : products) {
    if (product.output == nullptr) continue;
    MSA_CHECK(count < wanted.size(), "no input has more products");
    wanted[count++] = {product.weight, {product.output, {input.shape[0], product.weight.rows}}};
  }
  return kernels::MatMulEach(context_, input, absl::MakeConstSpan(wanted.data(), count), compute_);
}

absl::Status Transformer::NormHeads(float* heads, int64_t num_rows, int64_t num_heads,
                                    TensorView<const float, 1> weight) const {
  const std::array<int64_t, 2> shape{num_rows * num_heads, config_->head_dim};
  return kernels::RmsNorm(context_, {heads, shape}, weight, config_->rms_epsilon, {heads, shape});
}

}  // namespace msa::engine
