#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/safetensors.h"
#include "nlohmann/json.hpp"

namespace msa::parity {

// A directory of golden data: outputs of the method's authors' code, computed in f64 and stored as
// f32.
//   checkpoint/, checkpoint-sharded/   the same model twice
//   golden.json, golden.safetensors    documents, questions, encodings, scores, hidden states,
//   logits generation.json                    forced runs of the retrieve / expand / answer loop
//   variants.json, .safetensors        other reductions and similarities on the same weights
//   (optional)
class GoldenData {
 public:
  // Ends the program with a message when the directory is not of this layout.
  explicit GoldenData(const std::string& directory);

  const std::string& directory() const { return directory_; }
  const nlohmann::json& golden() const { return golden_; }
  const nlohmann::json& generation() const { return generation_; }
  const nlohmann::json& variants() const { return variants_; }  // null when absent

  bool Has(const std::string& tensor) const;
  std::vector<float> Tensor(const std::string& name) const;  // any of the two files; row-major
  std::vector<std::string> checkpoints() const;              // those of the two that exist

 private:
  std::string directory_;
  nlohmann::json golden_, generation_, variants_;
  std::vector<std::unique_ptr<engine::SafetensorsFile>> files_;
};

nlohmann::json ReadJson(const std::string& path);

// Copies the small files of `checkpoint`, links the large ones, and overrides keys of config.json's
// msa_config.
std::string CheckpointWith(const std::string& checkpoint, const nlohmann::json& msa_config,
                           const std::string& name);

// The largest absolute difference; infinity when sizes differ.
double LargestDifference(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace msa::parity
