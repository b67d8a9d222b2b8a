#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "kernels/core/dtype.h"

namespace msa::tools {

struct RandomCheckpointOptions {
  std::string
      geometry;  // "tiny", "0.6b" (Qwen3-0.6B with MSA layers 14..27) or "4b" (the published MSA-4B)
  uint64_t seed = 0;
  std::string out;        // directory, created if absent; must not hold a config.json
  std::string tokenizer;  // tokenizer.json or a directory that holds one; empty: none is copied
  kernels::DType dtype = kernels::DType::kBF16;
  int num_shards = 1;  // 1: model.safetensors; more: shards and their index
};

// Writes config.json, generation_config.json, the weights and, if given, the tokenizer: a model in Hugging Face's form whose
// answers mean nothing, for tests and timing. Matrices are nearly normal with deviation 0.02 (the sum of four uniform
// numbers), norms are 1. An element depends on seed, tensor and place only: the numbers are the same on any machine, with
// any number of threads or shards. Memory stays below 100 MB at any size.
//
// The eos ids are those of <|im_end|> and <|endoftext|> in the tokenizer; its ids must be below the geometry's vocab_size.
absl::Status WriteRandomCheckpoint(const RandomCheckpointOptions& options);

}  // namespace msa::tools
