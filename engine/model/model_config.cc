#include "engine/model/model_config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "engine/model/json_object.h"
#include "engine/model/mapped_file.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

using nlohmann::json;

// Far above any model, and low enough that no product of two of them with an element size overflows.
constexpr int64_t kMaxHiddenSize = 1 << 16;
constexpr int64_t kMaxLayers = 1 << 10;
constexpr int64_t kMaxHeads = 1 << 10;
constexpr int64_t kMaxHeadDim = 256;
constexpr int64_t kMaxFfnSize = 1 << 20;
constexpr int64_t kMaxVocabSize = 1 << 24;
constexpr int64_t kMaxPositions = 1 << 24;
constexpr int64_t kMaxTokensPerChunk = 1 << 13;
constexpr int64_t kMaxTopK = 1 << 10;
constexpr size_t kMaxConfigBytes = 4 << 20;

template <class Value>
using Choices = std::initializer_list<std::pair<std::string_view, Value>>;

// The choice that `key` names.
template <class Value>
absl::StatusOr<Value> Choose(const JsonObject& object, const std::string& key,
                             Choices<Value> choices, std::optional<Value> fallback = std::nullopt) {
  const json* value = object.Find(key);
  if (value == nullptr && fallback) return *fallback;
  std::string allowed = "allowed:";
  for (const auto& [name, choice] : choices) {
    if (value != nullptr && value->is_string() && value->get_ref<const std::string&>() == name) {
      return choice;
    }
    absl::StrAppend(&allowed, allowed.back() == ':' ? " " : ", ", "\"", std::string(name), "\"");
  }
  return object.Refuse(key, allowed);
}

// Refuses what would need other formulas than ours.
absl::Status RefuseUnsupported(const JsonObject& config) {
  if (config.Has("rope_scaling")) return config.Refuse("rope_scaling", "supported: null");
  for (const std::string key : {"attention_bias", "mlp_bias", "use_sliding_window"}) {
    MSA_ASSIGN_OR_RETURN(const bool on, config.Bool(key, false));
    if (on) return config.Refuse(key, "supported: false");
  }
  MSA_ASSIGN_OR_RETURN(const std::string activation, config.String("hidden_act", "silu"));
  if (activation != "silu") return config.Refuse("hidden_act", "supported: \"silu\"");
  MSA_ASSIGN_OR_RETURN(const double rotary, config.Number("partial_rotary_factor", 0, 1, 1.0));
  if (rotary != 1.0) return config.Refuse("partial_rotary_factor", "supported: 1");
  if (config.Has("quantization_config")) {
    return config.Refuse("quantization_config", "supported: null");
  }
  if (const json* types = config.Find("layer_types")) {
    const bool all_full =
        types->is_array() && std::all_of(types->begin(), types->end(),
                                         [](const json& t) { return t == "full_attention"; });
    if (!all_full) {
      return config.Refuse("layer_types", "supported: \"full_attention\" on every layer");
    }
  }
  return absl::OkStatus();
}

// rope_theta stands at the top or, in newer files, in rope_parameters.
absl::StatusOr<double> ReadRopeTheta(const JsonObject& config) {
  constexpr double kLowest = 1;
  constexpr double kHighest = 1e12;
  constexpr double kQwen3Default = 10000;
  if (!config.Has("rope_parameters")) {
    return config.Number("rope_theta", kLowest, kHighest, kQwen3Default);
  }
  MSA_ASSIGN_OR_RETURN(const JsonObject rope, config.Object("rope_parameters"));
  MSA_ASSIGN_OR_RETURN(const std::string type, rope.String("rope_type", "default"));
  if (type != "default") return rope.Refuse("rope_type", "supported: \"default\"");
  MSA_ASSIGN_OR_RETURN(const double theta,
                       rope.Number("rope_theta", kLowest, kHighest, kQwen3Default));
  MSA_ASSIGN_OR_RETURN(const double top, config.Number("rope_theta", kLowest, kHighest, theta));
  if (top != theta) {
    return config.Refuse("rope_theta", absl::StrCat("rope_parameters.rope_theta says ", theta));
  }
  return theta;
}

absl::Status ReadBackbone(const JsonObject& config, ModelConfig& result) {
  MSA_RETURN_IF_ERROR(RefuseUnsupported(config));
  MSA_ASSIGN_OR_RETURN(result.hidden_size, config.Integer("hidden_size", 1, kMaxHiddenSize));
  MSA_ASSIGN_OR_RETURN(result.num_layers, config.Integer("num_hidden_layers", 1, kMaxLayers));
  MSA_ASSIGN_OR_RETURN(result.num_query_heads, config.Integer("num_attention_heads", 1, kMaxHeads));
  MSA_ASSIGN_OR_RETURN(result.num_kv_heads, config.Integer("num_key_value_heads", 1, kMaxHeads));
  if (result.num_query_heads % result.num_kv_heads != 0) {
    return config.Refuse(
        "num_key_value_heads",
        absl::StrCat("allowed: a divisor of num_attention_heads, ", result.num_query_heads));
  }
  if (!config.Has("head_dim") && result.hidden_size % result.num_query_heads != 0) {
    return config.Refuse("head_dim",
                         absl::StrCat("needed where num_attention_heads, ", result.num_query_heads,
                                      ", does not divide hidden_size, ", result.hidden_size));
  }
  MSA_ASSIGN_OR_RETURN(
      result.head_dim,
      config.Integer("head_dim", 2, kMaxHeadDim, result.hidden_size / result.num_query_heads));
  if (result.head_dim < 2 || result.head_dim > kMaxHeadDim || result.head_dim % 2 != 0) {
    return config.Refuse(
        "head_dim",
        absl::StrCat("allowed: an even number from 2 to ", kMaxHeadDim,
                     config.Has("head_dim") ? "" : "; hidden_size / num_attention_heads is ",
                     config.Has("head_dim") ? "" : absl::StrCat(result.head_dim)));
  }
  MSA_ASSIGN_OR_RETURN(result.ffn_size, config.Integer("intermediate_size", 1, kMaxFfnSize));
  MSA_ASSIGN_OR_RETURN(result.vocab_size, config.Integer("vocab_size", 1, kMaxVocabSize));
  MSA_ASSIGN_OR_RETURN(result.max_positions,
                       config.Integer("max_position_embeddings", 1, kMaxPositions, 32768));
  MSA_ASSIGN_OR_RETURN(const double epsilon, config.Number("rms_norm_eps", 1e-30, 0.1, 1e-6));
  result.rms_epsilon = static_cast<float>(epsilon);
  MSA_ASSIGN_OR_RETURN(result.rope_theta, ReadRopeTheta(config));
  MSA_ASSIGN_OR_RETURN(result.tied_embeddings, config.Bool("tie_word_embeddings", false));
  return absl::OkStatus();
}

// "all" or "18, 19, 20".
absl::StatusOr<std::vector<int64_t>> ReadMsaLayers(const JsonObject& msa, int64_t num_layers) {
  const std::string key = "router_layer_idx";
  const std::string allowed =
      absl::StrCat("allowed: \"all\", or a string of distinct layers from 0 to ", num_layers - 1,
                   " with commas between them");
  const json* value = msa.Find(key);
  if (value == nullptr || !value->is_string()) return msa.Refuse(key, allowed);
  std::vector<int64_t> layers;
  const auto& text = value->get_ref<const std::string&>();
  if (text == "all") {
    for (int64_t layer = 0; layer < num_layers; ++layer) layers.push_back(layer);
    return layers;
  }
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int64_t layer = 0;  // SimpleAtoi skips the spaces around the number
    if (!absl::SimpleAtoi(part, &layer) || layer < 0 || layer >= num_layers) {
      return msa.Refuse(key, allowed);
    }
    layers.push_back(layer);
  }
  std::sort(layers.begin(), layers.end());
  if (std::adjacent_find(layers.begin(), layers.end()) != layers.end()) {
    return msa.Refuse(key, allowed);
  }
  return layers;
}

absl::Status ReadMsa(const JsonObject& config, ModelConfig& result) {
  MSA_ASSIGN_OR_RETURN(const JsonObject msa, config.Object("msa_config"));
  MSA_ASSIGN_OR_RETURN(result.msa_layers, ReadMsaLayers(msa, result.num_layers));
  MSA_ASSIGN_OR_RETURN(result.tokens_per_chunk,
                       msa.Integer("pooling_kernel_size", 1, kMaxTokensPerChunk, 64));
  MSA_ASSIGN_OR_RETURN(result.doc_top_k, msa.Integer("doc_top_k", 1, kMaxTopK, 16));
  MSA_ASSIGN_OR_RETURN(result.decouple_router, msa.Bool("decouple_router"));

  // The reference's inference compares the whole name, its training and the paper look for the part.
  enum class Rule { kContains, kLiteral };
  MSA_ASSIGN_OR_RETURN(const std::string method, msa.String("aux_loss_method", "INFONCE"));
  MSA_ASSIGN_OR_RETURN(
      const Rule rule,
      Choose<Rule>(msa, "similarity_rule",
                   {{"contains", Rule::kContains}, {"literal", Rule::kLiteral}}, Rule::kContains));
  result.cosine =
      rule == Rule::kLiteral ? method == "INFONCE" : method.find("INFONCE") != std::string::npos;

  using kernels::ChunkReduce;
  using kernels::HeadReduce;
  using kernels::QueryReduce;
  MSA_ASSIGN_OR_RETURN(result.head_reduce, Choose<HeadReduce>(msa, "head_reduce_method",
                                                              {{"mean", HeadReduce::kMean},
                                                               {"max", HeadReduce::kMax}}));
  MSA_ASSIGN_OR_RETURN(result.query_reduce, Choose<QueryReduce>(msa, "query_reduce_method",
                                                                {{"max", QueryReduce::kMax},
                                                                 {"mean", QueryReduce::kMean},
                                                                 {"last", QueryReduce::kLast}},
                                                                QueryReduce::kMax));
  MSA_ASSIGN_OR_RETURN(result.chunk_reduce, Choose<ChunkReduce>(msa, "chunk_reduce_method",
                                                                {{"max", ChunkReduce::kMax},
                                                                 {"mean", ChunkReduce::kMean}},
                                                                ChunkReduce::kMax));
  MSA_ASSIGN_OR_RETURN(result.answer_block_mask,
                       Choose<AnswerBlockMask>(
                           msa, "answer_block_mask",
                           {{"full", AnswerBlockMask::kFull}, {"causal", AnswerBlockMask::kCausal}},
                           AnswerBlockMask::kFull));
  MSA_ASSIGN_OR_RETURN(const std::string pooling, msa.String("decouple_pooling_mode", "mean"));
  if (pooling != "mean") return msa.Refuse("decouple_pooling_mode", "supported: \"mean\"");
  return absl::OkStatus();
}

// An id, a list of ids, or nothing.
absl::StatusOr<std::vector<int32_t>> ReadEosTokenIds(const JsonObject& object, int64_t vocab_size) {
  const std::string key = "eos_token_id";
  const json* value = object.Find(key);
  std::vector<int32_t> ids;
  if (value == nullptr) return ids;
  const json list = value->is_array() ? *value : json::array({*value});
  for (const json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(vocab_size)) {
      return object.Refuse(
          key, absl::StrCat("allowed: a token id, or a list of them, from 0 to ", vocab_size - 1));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  if (file->bytes().size() > kMaxConfigBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("%s has %d bytes; at most %d are read", path,
                                                      file->bytes().size(), kMaxConfigBytes));
  }
  return std::string(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
}

}  // namespace

float ModelConfig::score_scale() const {
  return cosine && decouple_router
             ? 1.0f
             : static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

int ModelConfig::MsaIndex(int64_t layer) const {
  const auto place = std::lower_bound(msa_layers.begin(), msa_layers.end(), layer);
  return place == msa_layers.end() || *place != layer
             ? -1
             : static_cast<int>(place - msa_layers.begin());
}

absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& config_json,
                                             const std::string& generation_config_json,
                                             const std::string& where) {
  ModelConfig result;
  result.name = where;
  MSA_ASSIGN_OR_RETURN(const JsonObject config,
                       JsonObject::Parse(config_json, where + "/config.json"));
  MSA_RETURN_IF_ERROR(ReadBackbone(config, result));
  MSA_RETURN_IF_ERROR(ReadMsa(config, result));
  if (!generation_config_json.empty()) {
    MSA_ASSIGN_OR_RETURN(
        const JsonObject generation,
        JsonObject::Parse(generation_config_json, where + "/generation_config.json"));
    MSA_ASSIGN_OR_RETURN(result.eos_token_ids, ReadEosTokenIds(generation, result.vocab_size));
  }
  if (result.eos_token_ids.empty()) {
    MSA_ASSIGN_OR_RETURN(result.eos_token_ids, ReadEosTokenIds(config, result.vocab_size));
  }
  return result;
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& model_dir) {
  MSA_ASSIGN_OR_RETURN(const std::string config, ReadText(model_dir + "/config.json"));
  absl::StatusOr<std::string> generation = ReadText(model_dir + "/generation_config.json");
  if (!generation.ok() && !absl::IsNotFound(generation.status())) return generation.status();
  const std::string generation_text = generation.ok() ? *std::move(generation) : "";
  MSA_ASSIGN_OR_RETURN(ModelConfig result, ParseModelConfig(config, generation_text, model_dir));
  std::error_code error;
  std::filesystem::path path = std::filesystem::canonical(model_dir, error);
  if (error) return result;
  // models/needle/checkpoint is the model needle.
  if (path.filename() == "checkpoint" && path.has_parent_path()) path = path.parent_path();
  result.name = path.filename().string();
  return result;
}

}  // namespace msa::engine
