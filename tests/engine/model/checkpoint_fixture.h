#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/model/model_config.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"

// Small checkpoints that a test writes, whole or damaged.
namespace msa::engine {

// A directory that goes away with its content.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct FileTensor {
  std::string name;
  std::string dtype;  // "BF16", "F16", "F32" or anything else
  std::vector<int64_t> shape;
  std::string bytes;
};

void WriteText(const std::string& path, const std::string& text);

// A safetensors file of any header and data, however wrong.
std::string SafetensorsText(const std::string& header, const std::string& data);
// A correct one. `pad_header` false leaves the data at whatever byte the header ends.
std::string SafetensorsText(const std::vector<FileTensor>& tensors, bool pad_header = true);

// `values` as `dtype`, little-endian. Values must be exact in that dtype.
std::string Encode(const std::vector<float>& values, const std::string& dtype);

// Two layers (the second an MSA layer), tied embeddings: M 8, Hq 4, Hkv 2, D 4, F 16, V 32.
nlohmann::json SmallConfigJson();
ModelConfig SmallConfig();
// The value of every element of SmallTensors; exact in bf16, f16 and f32.
float SmallValue(const std::string& tensor, int64_t element);
// All tensors that SmallConfig() (or another) needs.
std::vector<FileTensor> SmallTensors(const std::string& dtype,
                                     const ModelConfig& config = SmallConfig());
FileTensor& Named(std::vector<FileTensor>& tensors, const std::string& name);

// INVALID_ARGUMENT (or `code`) whose message has every part.
void ExpectError(const absl::Status& status, const std::vector<std::string>& parts,
                 absl::StatusCode code = absl::StatusCode::kInvalidArgument);

}  // namespace msa::engine
