#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/model/mapped_file.h"
#include "kernels/core/dtype.h"

namespace msa::engine {

struct SafetensorsEntry {
  std::string dtype_name;               // as in the file: "BF16"
  std::optional<kernels::DType> dtype;  // nullopt: a dtype that no tensor of ours may have
  std::vector<int64_t> shape;           // [] is a scalar
  absl::Span<const std::byte> bytes;    // in the mapping, at any alignment
};

// One safetensors file: u64 little-endian length of the header, the header (JSON: name -> dtype, shape, data_offsets),
// the data. Format: https://github.com/huggingface/safetensors. Immutable; thread-safe.
class SafetensorsFile {
 public:
  // Maps `path` and checks all of the header before anything uses it: the header's length (at most 16 MiB) lies within the
  // file, shapes are non-negative and their product times the dtype's size is exactly the length in data_offsets, and the
  // tensors cover the data without overlap, gap or remainder. INVALID_ARGUMENT names file, tensor, expected and found.
  // A dtype that is not BF16, F16 or F32 is no error here: the tensor may be one that nobody needs.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);

  const std::map<std::string, SafetensorsEntry>& tensors() const { return tensors_; }
  const MappedFile& file() const { return *file_; }

 private:
  SafetensorsFile() = default;

  std::unique_ptr<MappedFile> file_;
  std::map<std::string, SafetensorsEntry> tensors_;
};

// "[2048, 64]", for error messages.
std::string ShapeText(absl::Span<const int64_t> shape);

}  // namespace msa::engine
