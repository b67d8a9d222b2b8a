#include "tests/tools/random_checkpoint.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/thread_pool.h"
#include "nlohmann/json.hpp"

namespace msa::tools {
namespace {

namespace fs = std::filesystem;
using engine::ExpectedTensor;
using kernels::DType;
using json = nlohmann::ordered_json;

constexpr int64_t kBlockElements = 1 << 20;
constexpr int64_t kTaskElements = 1 << 16;
constexpr uint64_t kDataAlignment = 64;

struct Geometry {
  std::string_view name;
  int64_t hidden, layers, query_heads, kv_heads, head_dim, ffn, vocab, max_positions;
  double rope_theta;
  int64_t first_msa_layer, pooling, top_k;
  int32_t im_end, end_of_text;
};

constexpr Geometry kGeometries[] = {
    {"tiny", 64, 4, 8, 2, 16, 128, 2048, 32768, 1e4, 2, 16, 4, 2002, 2000},
    {"0.6b", 1024, 28, 16, 8, 128, 3072, 151936, 40960, 1e6, 14, 64, 16, 151645, 151643},
    {"4b", 2560, 36, 32, 8, 128, 9728, 151936, 262144, 5e6, 18, 64, 16, 151645, 151643},
};

struct EosIds {
  int32_t im_end = 0;
  int32_t end_of_text = 0;
};

json ConfigJson(const Geometry& geometry, EosIds eos, DType dtype) {
  std::string layers;
  for (int64_t layer = geometry.first_msa_layer; layer < geometry.layers; ++layer) {
    absl::StrAppend(&layers, layers.empty() ? "" : ",", layer);
  }
  const std::string torch_dtype = dtype == DType::kF32   ? "float32"
                                  : dtype == DType::kF16 ? "float16"
                                                         : "bfloat16";
  return {
      {"architectures", {"MSAForCausalLM"}},
      {"model_type", "msa"},
      {"hidden_size", geometry.hidden},
      {"num_hidden_layers", geometry.layers},
      {"num_attention_heads", geometry.query_heads},
      {"num_key_value_heads", geometry.kv_heads},
      {"head_dim", geometry.head_dim},
      {"intermediate_size", geometry.ffn},
      {"vocab_size", geometry.vocab},
      {"max_position_embeddings", geometry.max_positions},
      {"rope_theta", geometry.rope_theta},
      {"rope_scaling", nullptr},
      {"rms_norm_eps", 1e-6},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"use_sliding_window", false},
      {"tie_word_embeddings", true},
      {"torch_dtype", torch_dtype},
      {"bos_token_id", eos.end_of_text},
      {"eos_token_id", eos.im_end},
      {"msa_config",
       {{"router_layer_idx", layers},
        {"pooling_kernel_size", geometry.pooling},
        {"doc_top_k", geometry.top_k},
        {"decouple_router", true},
        {"aux_loss_method", "INFONCE"},
        {"head_reduce_method", "mean"},
        {"query_reduce_method", "max"},
        {"chunk_reduce_method", "max"},
        {"decouple_pooling_mode", "mean"}}},
  };
}

absl::Status WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) return absl::UnavailableError("cannot write " + path);
  return absl::OkStatus();
}

// Copies the tokenizer's files and returns its eos ids.
absl::StatusOr<EosIds> CopyTokenizer(const RandomCheckpointOptions& options,
                                     const Geometry& geometry) {
  if (options.tokenizer.empty()) return EosIds{geometry.im_end, geometry.end_of_text};
  std::error_code error;
  const bool is_directory = fs::is_directory(options.tokenizer, error);
  const std::string source =
      is_directory ? options.tokenizer + "/tokenizer.json" : options.tokenizer;
  std::ifstream file(source, std::ios::binary);
  const json tokenizer = json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!tokenizer.is_object() || !tokenizer.contains("added_tokens") ||
      !tokenizer.contains("/model/vocab"_json_pointer)) {
    return absl::InvalidArgumentError(source +
                                      " is not a tokenizer.json with model.vocab and added_tokens");
  }
  int64_t highest = 0;
  for (const auto& [piece, id] : tokenizer["model"]["vocab"].items()) {
    if (id.is_number_integer()) highest = std::max(highest, id.get<int64_t>());
  }
  std::map<std::string, int64_t> specials;
  for (const json& token : tokenizer["added_tokens"]) {
    if (!token.is_object() || !token.contains("id") || !token["id"].is_number_integer()) continue;
    const auto id = token["id"].get<int64_t>();
    highest = std::max(highest, id);
    if (token.contains("content") && token["content"].is_string()) {
      specials[token["content"].get<std::string>()] = id;
    }
  }
  if (highest >= geometry.vocab) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s has ids up to %d; geometry %s has a vocabulary of %d", source, highest,
                        geometry.name, geometry.vocab));
  }
  for (const std::string special : {"<|im_end|>", "<|endoftext|>"}) {
    if (!specials.contains(special)) {
      return absl::InvalidArgumentError(source + " has no token " + special);
    }
  }
  const auto copy = [&](const std::string& from, const std::string& name) {
    const std::string to = options.out + "/" + name;
    fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
    if (!error) fs::permissions(to, fs::perms::owner_write, fs::perm_options::add, error);
    return error ? absl::UnavailableError("cannot copy " + from + ": " + error.message())
                 : absl::OkStatus();
  };
  MSA_RETURN_IF_ERROR(copy(source, "tokenizer.json"));
  const std::string config = options.tokenizer + "/tokenizer_config.json";
  if (is_directory && fs::exists(config, error)) {
    MSA_RETURN_IF_ERROR(copy(config, "tokenizer_config.json"));
  }
  return EosIds{static_cast<int32_t>(specials["<|im_end|>"]),
                static_cast<int32_t>(specials["<|endoftext|>"])};
}

// The finaliser of SplitMix64: every output bit depends on every input bit.
constexpr uint64_t Mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

uint64_t StreamOf(uint64_t seed, std::string_view tensor) {
  uint64_t stream = Mix(seed + 0x9e3779b97f4a7c15);
  for (const char c : tensor) stream = Mix(stream ^ static_cast<unsigned char>(c));
  return stream;
}

// Four 16-bit uniform numbers summed and centred: deviation 65536 / sqrt(3).
float NearlyNormal(uint64_t stream, int64_t element) {
  constexpr float kScale = 0.02f / 37837.23f;
  const uint64_t random = Mix(stream + static_cast<uint64_t>(element) * 0x9e3779b97f4a7c15);
  const auto sum = static_cast<int32_t>((random & 0xffff) + (random >> 16 & 0xffff) +
                                        (random >> 32 & 0xffff) + (random >> 48));
  return static_cast<float>(sum - 2 * 0xffff) * kScale;
}

// Round to nearest, ties to even. For |value| below 2: no overflow.
uint16_t ToF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude <
      0x38800000) {  // a subnormal f16: a multiple of 2^-24, which f32 addition rounds to
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000;
  return static_cast<uint16_t>(sign | rounded >> 13);
}

void Fill(uint64_t stream, bool is_norm, DType dtype, int64_t begin, int64_t end, std::byte* out) {
  for (int64_t i = begin; i < end; ++i) {
    const float value = is_norm ? 1.0f : NearlyNormal(stream, i);
    if (dtype == DType::kF32) {
      std::memcpy(out + (i - begin) * 4, &value, 4);
    } else {
      const uint16_t half = dtype == DType::kBF16 ? kernels::ToBF16(value).bits : ToF16(value);
      std::memcpy(out + (i - begin) * 2, &half, 2);
    }
  }
}

int64_t NumElements(const ExpectedTensor& tensor) {
  int64_t count = 1;
  for (const int64_t dimension : tensor.shape) count *= dimension;
  return count;
}

// Streams one safetensors file.
absl::Status WriteShard(const std::string& path, const std::vector<ExpectedTensor>& tensors,
                        const RandomCheckpointOptions& options, kernels::ThreadPool& pool) {
  const auto size = static_cast<int64_t>(SizeOf(options.dtype));
  const std::string dtype = options.dtype == DType::kF32   ? "F32"
                            : options.dtype == DType::kF16 ? "F16"
                                                           : "BF16";
  json header = {{"__metadata__", {{"format", "pt"}}}};
  int64_t offset = 0;
  for (const ExpectedTensor& tensor : tensors) {
    const int64_t end = offset + NumElements(tensor) * size;
    header[tensor.name] = {
        {"dtype", dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  while ((text.size() + 8) % kDataAlignment != 0) text += ' ';

  std::ofstream file(path, std::ios::binary);
  for (int shift = 0; shift < 64; shift += 8) {
    file.put(static_cast<char>(text.size() >> shift & 0xff));
  }
  file << text;
  std::vector<std::byte> block(static_cast<size_t>(kBlockElements * size));
  for (const ExpectedTensor& tensor : tensors) {
    const uint64_t stream = StreamOf(options.seed, tensor.name);
    const bool is_norm = tensor.shape.size() == 1;
    const int64_t count = NumElements(tensor);
    for (int64_t first = 0; first < count; first += kBlockElements) {
      const int64_t last = std::min(count, first + kBlockElements);
      pool.ParallelFor((last - first + kTaskElements - 1) / kTaskElements, [&](int64_t task) {
        const int64_t begin = first + task * kTaskElements;
        Fill(stream, is_norm, options.dtype, begin, std::min(last, begin + kTaskElements),
             block.data() + (begin - first) * size);
      });
      file.write(reinterpret_cast<const char*>(block.data()), (last - first) * size);
    }
  }
  file.close();
  if (!file) return absl::UnavailableError("cannot write " + path + ": " + std::strerror(errno));
  return absl::OkStatus();
}

// Consecutive tensors, about equally many bytes per shard.
std::vector<std::vector<ExpectedTensor>> SplitIntoShards(const std::vector<ExpectedTensor>& tensors,
                                                         int num_shards) {
  int64_t total = 0;
  for (const ExpectedTensor& tensor : tensors) total += NumElements(tensor);
  std::vector<std::vector<ExpectedTensor>> shards(static_cast<size_t>(num_shards));
  int64_t before = 0;
  for (const ExpectedTensor& tensor : tensors) {
    shards[static_cast<size_t>(before * num_shards / total)].push_back(tensor);
    before += NumElements(tensor);
  }
  std::erase_if(shards, [](const auto& shard) { return shard.empty(); });
  return shards;
}

absl::Status WriteWeights(const std::vector<ExpectedTensor>& tensors,
                          const RandomCheckpointOptions& options) {
  kernels::ThreadPool pool(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  if (options.num_shards == 1) {
    return WriteShard(options.out + "/model.safetensors", tensors, options, pool);
  }
  const auto shards = SplitIntoShards(tensors, options.num_shards);
  json weight_map = json::object();
  int64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size());
    MSA_RETURN_IF_ERROR(WriteShard(options.out + "/" + name, shards[i], options, pool));
    for (const ExpectedTensor& tensor : shards[i]) {
      weight_map[tensor.name] = name;
      total_bytes += NumElements(tensor) * static_cast<int64_t>(SizeOf(options.dtype));
    }
  }
  const json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
  return WriteText(options.out + "/model.safetensors.index.json", index.dump(1));
}

}  // namespace

absl::Status WriteRandomCheckpoint(const RandomCheckpointOptions& options) {
  const auto* geometry =
      std::find_if(std::begin(kGeometries), std::end(kGeometries),
                   [&](const Geometry& g) { return g.name == options.geometry; });
  if (geometry == std::end(kGeometries)) {
    return absl::InvalidArgumentError("geometry \"" + options.geometry +
                                      "\" is unknown; known: tiny, 0.6b, 4b");
  }
  if (options.num_shards < 1 || options.num_shards > 1000) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d shards; allowed: 1 to 1000", options.num_shards));
  }
  std::error_code error;
  fs::create_directories(options.out, error);
  if (error) return absl::UnavailableError("cannot create " + options.out + ": " + error.message());
  if (fs::exists(options.out + "/config.json", error)) {
    return absl::AlreadyExistsError(options.out + " already holds a config.json");
  }
  MSA_ASSIGN_OR_RETURN(const EosIds eos, CopyTokenizer(options, *geometry));
  const std::string config = ConfigJson(*geometry, eos, options.dtype).dump(2) + "\n";
  const json generation = {{"do_sample", false}, {"eos_token_id", {eos.im_end, eos.end_of_text}}};
  MSA_ASSIGN_OR_RETURN(const engine::ModelConfig parsed,
                       engine::ParseModelConfig(config, generation.dump(), options.out));
  MSA_RETURN_IF_ERROR(WriteWeights(engine::ExpectedTensors(parsed), options));
  MSA_RETURN_IF_ERROR(
      WriteText(options.out + "/generation_config.json", generation.dump(2) + "\n"));
  return WriteText(options.out + "/config.json", config);
}

}  // namespace msa::tools
