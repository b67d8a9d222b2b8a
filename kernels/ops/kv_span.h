#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"

namespace msa::kernels {

// One page of keys and values of one layer: [2 (keys, values), Hkv, rows_per_page, D] of `dtype`,
// of which the first `num_rows` rows of every head are used.
struct KvSpan {
  const void* page = nullptr;
  int32_t num_rows = 0;
};

// What all pages of a pool have in common.
struct KvPageShape {
  int64_t num_kv_heads = 0;  // Hkv
  int64_t rows_per_page = 0;
  int64_t head_dim = 0;       // D
  DType dtype = DType::kF32;  // f32 or bf16

  int64_t bytes() const {
    return 2 * num_kv_heads * rows_per_page * head_dim * static_cast<int64_t>(SizeOf(dtype));
  }
};

}  // namespace msa::kernels
