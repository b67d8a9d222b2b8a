#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/ops/score_chunks.h"

namespace msa::engine {

// How the rows of the answer block see each other.
enum class AnswerBlockMask { kFull, kCausal };

// `config.json` (and generation_config.json's eos ids), checked: a value that changes the arithmetic and is not supported is
// refused by name, unknown keys are ignored. Formulas: Qwen3 with Memory Sparse Attention, arXiv 2603.23516.
//
// Required keys: hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, intermediate_size, vocab_size,
// msa_config with router_layer_idx, and decouple_router and head_reduce_method, whose absence the method's paper and its
// authors' code read differently. Absent keys otherwise mean what they mean in Qwen3: head_dim hidden_size / heads,
// max_position_embeddings 32768, rms_norm_eps 1e-6, rope_theta 10000, tie_word_embeddings false, hidden_act silu; and in
// msa_config: pooling_kernel_size 64, doc_top_k 16, aux_loss_method INFONCE, query_reduce_method and chunk_reduce_method
// max, answer_block_mask full, similarity_rule contains.
struct ModelConfig {
  std::string name;             // the directory's name (of `checkpoint`, its parent's), shown to users
  int64_t hidden_size = 0;      // M
  int64_t num_layers = 0;       // L
  int64_t num_query_heads = 0;  // Hq
  int64_t num_kv_heads = 0;     // Hkv
  int64_t head_dim = 0;         // D, even
  int64_t ffn_size = 0;         // F
  int64_t vocab_size = 0;       // V, rows of the embedding table
  int64_t max_positions = 0;    // longest document or running text in tokens
  float rms_epsilon = 0;
  double rope_theta = 0;
  bool tied_embeddings = false;
  std::vector<int32_t>
      eos_token_ids;  // generation_config.json's if it has any, else config.json's; may be empty

  // msa_config
  std::vector<int64_t> msa_layers;  // ascending, distinct, within [0, L), at least one
  int64_t tokens_per_chunk = 64;    // P
  int64_t doc_top_k = 16;           // k
  bool decouple_router = true;      // own router projections; false: attention's q and k after RoPE
  bool cosine = true;               // similarity; false: dot product
  kernels::HeadReduce head_reduce = kernels::HeadReduce::kMean;
  kernels::QueryReduce query_reduce = kernels::QueryReduce::kMax;
  kernels::ChunkReduce chunk_reduce = kernels::ChunkReduce::kMax;
  AnswerBlockMask answer_block_mask = AnswerBlockMask::kFull;

  // Multiplies document scores: 1 for cosine with own router projections, otherwise D^-0.5.
  float score_scale() const;
  float attention_scale() const { return 1.0f / std::sqrt(static_cast<float>(head_dim)); }
  int64_t kv_width() const { return num_kv_heads * head_dim; }
  int64_t query_width() const { return num_query_heads * head_dim; }
  // -1 when `layer` is not an MSA layer, otherwise its place in msa_layers.
  int MsaIndex(int64_t layer) const;
};

// Reads `model_dir`/config.json and generation_config.json (which may be absent). NOT_FOUND when there is no config.json;
// INVALID_ARGUMENT names file, key, found value and what is supported.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& model_dir);
// The same from texts (for tests and tools); `generation_config_json` may be empty, `where` stands for the directory in
// errors and becomes the name.
absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& config_json,
                                             const std::string& generation_config_json,
                                             const std::string& where);

}  // namespace msa::engine
