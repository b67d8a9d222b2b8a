#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/memory/documents/bank_settings.h"
#include "kernels/core/dtype.h"
#include "kernels/ops/quantized_keys.h"

namespace msa::engine {

// The shape of what a bank stores for the model it belongs to.
struct MemoryGeometry {
  int64_t num_msa_layers = 0;
  int64_t kv_width = 0;                          // Hkv * D
  int64_t tokens_per_chunk = 0;                  // P
  kernels::DType dtype = kernels::DType::kBF16;  // bank dtype
  std::string model_fingerprint;
  std::string instruction_set;  // encodings are bitwise reproducible per instruction set

  int64_t ChunksOf(int64_t num_tokens) const {
    return (num_tokens + tokens_per_chunk - 1) / tokens_per_chunk;
  }
  // Bytes of one chunk, all layers.
  int64_t router_key_bytes_per_chunk() const {
    return num_msa_layers * kv_width * static_cast<int64_t>(kernels::SizeOf(dtype));
  }
  // Of the int8 copies of its router keys.
  int64_t quantized_key_bytes_per_chunk() const {
    return num_msa_layers * kernels::QuantizedGroupBytes(kv_width) / kernels::kChunksPerGroup;
  }
  // What its router keys take in memory.
  int64_t resident_key_bytes_per_chunk(RouterKeyScan scan) const {
    return router_key_bytes_per_chunk() +
           (scan == RouterKeyScan::kInt8 ? quantized_key_bytes_per_chunk() : 0);
  }
  int64_t content_bytes_per_chunk() const { return 2 * router_key_bytes_per_chunk(); }
};

// A document's memory, in the bank dtype.
struct EncodedDocument {
  int64_t num_tokens = 0;
  int64_t num_chunks = 0;              // C
  std::vector<std::byte> router_keys;  // [layer, C, kv_width]
  std::vector<std::byte> content;      // [layer, C, 2 (key, value), kv_width]
};

}  // namespace msa::engine
