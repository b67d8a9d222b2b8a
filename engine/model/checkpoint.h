#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/model/model_config.h"
#include "engine/model/safetensors.h"
#include "kernels/core/dtype.h"

namespace msa::engine {

// One tensor of a checkpoint. Views; valid while the Checkpoint lives.
struct CheckpointTensor {
  kernels::DType dtype = kernels::DType::kF32;
  absl::Span<const int64_t> shape;
  absl::Span<const std::byte> bytes;  // row-major, little-endian, at any alignment
  const MappedFile* file = nullptr;
};

struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;  // rows are outputs
};

// "model.layers.LAYER.PART.weight"
std::string LayerTensorName(int64_t layer, std::string_view part);

// Every tensor that a model of this configuration reads, ascending by name: those of Hugging Face's Qwen3, lm_head.weight
// only where embeddings are not tied, and router_{q,k}_proj.0 on MSA layers with their own router.
std::vector<ExpectedTensor> ExpectedTensors(const ModelConfig& config);

// The tensors of a model directory: `model.safetensors`, or else the shards that `model.safetensors.index.json` names
// (where both exist the single file is read, as in Hugging Face's loader). Tensors that nobody asks for are ignored
// (`temperature`, lm_head.weight of a tied model, routers of other layers). Immutable; thread-safe.
class Checkpoint {
 public:
  // Maps the files and checks everything that can be checked without a ModelConfig: each file (see safetensors.h), and
  // that the index names plain files inside the directory (no path, no link that leads out of it), that each shard exists
  // and holds the tensors the index says, and that no tensor is in two shards. NOT_FOUND or INVALID_ARGUMENT.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& model_dir);

  // The tensor `name`. NOT_FOUND when absent, INVALID_ARGUMENT when its dtype is not BF16, F16 or F32 or its shape is
  // another; the error names file, tensor, expected and found.
  absl::StatusOr<CheckpointTensor> Find(const std::string& name,
                                        absl::Span<const int64_t> expected_shape) const;

  // Finds every expected tensor, or says what is wrong with the first that is not as it should be.
  absl::Status Validate(const ModelConfig& config) const;

 private:
  struct Place {
    const SafetensorsFile* file;
    const SafetensorsEntry* entry;
  };

  Checkpoint() = default;
  absl::Status OpenSingle(const std::string& model_dir);
  absl::Status OpenShards(const std::string& model_dir, const std::string& index_path);
  absl::Status CheckNoTensorTwice() const;

  std::string source_;  // the single file or the index, for errors
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Place> tensors_;
};

}  // namespace msa::engine
