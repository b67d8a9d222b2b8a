#include "engine/model/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/model/json_object.h"
#include "engine/model/mapped_file.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr size_t kMaxIndexBytes = 16 << 20;
constexpr size_t kMaxShards = 1024;

// A shard's name is data out of a downloaded file: it may only name a file that lies in the directory itself.
bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name.front() != '.' &&
         name.find_first_of("/\\") == std::string_view::npos &&
         name.find('\0') == std::string_view::npos && name.find("..") == std::string_view::npos;
}

// Refuses a link that leads out of the directory. A file that does not exist passes; opening it says so.
absl::Status CheckStaysInside(const std::string& model_dir, const std::string& path) {
  std::error_code error;
  const fs::path directory = fs::canonical(model_dir, error);
  if (error) return absl::OkStatus();
  const fs::path target = fs::canonical(path, error);
  if (error) return absl::OkStatus();
  const auto [end, unused] =
      std::mismatch(directory.begin(), directory.end(), target.begin(), target.end());
  if (end == directory.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s is a link to %s, outside the model's directory; put the file itself there", path,
      target.string()));
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> OpenInside(const std::string& model_dir,
                                                            const std::string& file_name) {
  const std::string path = model_dir + "/" + file_name;
  MSA_RETURN_IF_ERROR(CheckStaysInside(model_dir, path));
  return SafetensorsFile::Open(path);
}

}  // namespace

std::string LayerTensorName(int64_t layer, std::string_view part) {
  return absl::StrFormat("model.layers.%d.%s.weight", layer, part);
}

std::vector<ExpectedTensor> ExpectedTensors(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t queries = config.query_width();
  const int64_t keys = config.kv_width();
  const int64_t ffn = config.ffn_size;
  std::vector<ExpectedTensor> tensors = {
      {"model.embed_tokens.weight", {config.vocab_size, hidden}},
      {"model.norm.weight", {hidden}},
  };
  if (!config.tied_embeddings) tensors.push_back({"lm_head.weight", {config.vocab_size, hidden}});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto add = [&](std::string_view part, std::vector<int64_t> shape) {
      tensors.push_back({LayerTensorName(layer, part), std::move(shape)});
    };
    add("input_layernorm", {hidden});
    add("post_attention_layernorm", {hidden});
    add("self_attn.q_norm", {config.head_dim});
    add("self_attn.k_norm", {config.head_dim});
    add("self_attn.q_proj", {queries, hidden});
    add("self_attn.k_proj", {keys, hidden});
    add("self_attn.v_proj", {keys, hidden});
    add("self_attn.o_proj", {hidden, queries});
    add("mlp.gate_proj", {ffn, hidden});
    add("mlp.up_proj", {ffn, hidden});
    add("mlp.down_proj", {hidden, ffn});
    if (config.decouple_router && config.MsaIndex(layer) >= 0) {
      add("self_attn.router_q_proj.0", {queries, hidden});
      add("self_attn.router_k_proj.0", {keys, hidden});
    }
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const ExpectedTensor& a, const ExpectedTensor& b) { return a.name < b.name; });
  return tensors;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& model_dir) {
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint());
  const std::string index_path = model_dir + "/" + kIndexFile;
  std::error_code error;
  // symlink_status: a dangling link is reported as such instead of being taken for an absent file.
  if (fs::exists(fs::symlink_status(model_dir + "/" + kSingleFile, error))) {
    MSA_RETURN_IF_ERROR(checkpoint->OpenSingle(model_dir));
  } else if (fs::exists(fs::symlink_status(index_path, error))) {
    MSA_RETURN_IF_ERROR(checkpoint->OpenShards(model_dir, index_path));
  } else {
    return absl::NotFoundError(
        absl::StrFormat("%s holds neither %s nor %s", model_dir, kSingleFile, kIndexFile));
  }
  return checkpoint;
}

absl::Status Checkpoint::OpenSingle(const std::string& model_dir) {
  source_ = model_dir + "/" + kSingleFile;
  MSA_ASSIGN_OR_RETURN(auto file, OpenInside(model_dir, kSingleFile));
  for (const auto& [name, entry] : file->tensors()) tensors_[name] = {file.get(), &entry};
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status Checkpoint::OpenShards(const std::string& model_dir, const std::string& index_path) {
  source_ = index_path;
  MSA_RETURN_IF_ERROR(CheckStaysInside(model_dir, index_path));
  MSA_ASSIGN_OR_RETURN(const auto text, MappedFile::Open(index_path));
  if (text->bytes().size() > kMaxIndexBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s has %d bytes; at most %d are read", index_path, text->bytes().size(), kMaxIndexBytes));
  }
  const std::string_view index_text(reinterpret_cast<const char*>(text->bytes().data()),
                                    text->bytes().size());
  MSA_ASSIGN_OR_RETURN(const JsonObject index, JsonObject::Parse(index_text, index_path));
  MSA_ASSIGN_OR_RETURN(const JsonObject weight_map, index.Object("weight_map"));

  std::map<std::string, const SafetensorsFile*> shards;
  for (const auto& [name, shard] : weight_map.members().items()) {
    if (!shard.is_string() || !IsPlainFileName(shard.get_ref<const std::string&>())) {
      return weight_map.Refuse(name, "allowed: the name of a file in the same directory");
    }
    const auto& shard_name = shard.get_ref<const std::string&>();
    const SafetensorsFile*& file = shards[shard_name];
    if (file == nullptr) {
      if (shards.size() > kMaxShards) {
        return absl::InvalidArgumentError(
            absl::StrFormat("%s names more than %d shards", index_path, kMaxShards));
      }
      absl::StatusOr<std::unique_ptr<SafetensorsFile>> opened = OpenInside(model_dir, shard_name);
      if (!opened.ok()) {
        return absl::Status(
            opened.status().code(),
            absl::StrCat(opened.status().message(), " (a shard that ", index_path, " names)"));
      }
      file = opened->get();
      files_.push_back(*std::move(opened));
    }
    const auto entry = file->tensors().find(name);
    if (entry == file->tensors().end()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s says that tensor %s is in %s, which does not hold it", index_path,
                          Shorten(json(name)), shard_name));
    }
    tensors_[name] = {file, &entry->second};
  }
  return CheckNoTensorTwice();
}

absl::Status Checkpoint::CheckNoTensorTwice() const {
  std::map<std::string_view, const SafetensorsFile*> owners;
  for (const auto& file : files_) {
    for (const auto& [name, entry] : file->tensors()) {
      const auto [place, first] = owners.emplace(name, file.get());
      if (first) continue;
      return absl::InvalidArgumentError(
          absl::StrFormat("tensor %s is in two shards, %s and %s", Shorten(json(name)),
                          place->second->file().path(), file->file().path()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<CheckpointTensor> Checkpoint::Find(const std::string& name,
                                                  absl::Span<const int64_t> expected_shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return absl::NotFoundError(absl::StrFormat("%s: tensor \"%s\" with shape %s is missing",
                                               source_, name, ShapeText(expected_shape)));
  }
  const auto& [file, entry] = found->second;
  if (!entry->dtype) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: tensor \"%s\" has dtype %s; expected BF16, F16 or F32",
                        file->file().path(), name, Shorten(json(entry->dtype_name))));
  }
  if (absl::MakeConstSpan(entry->shape) != expected_shape) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: tensor \"%s\" has shape %s; by config.json expected %s", file->file().path(), name,
        ShapeText(entry->shape), ShapeText(expected_shape)));
  }
  return CheckpointTensor{*entry->dtype, entry->shape, entry->bytes, &file->file()};
}

absl::Status Checkpoint::Validate(const ModelConfig& config) const {
  for (const ExpectedTensor& tensor : ExpectedTensors(config)) {
    MSA_RETURN_IF_ERROR(Find(tensor.name, tensor.shape).status());
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
