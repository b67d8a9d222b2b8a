#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/dtype.h"

// Int8 copies of router keys, which ScoreChunks reads first to find out whose exact keys it needs.
//
// A chunk's key k of W values is k = s * n + e: s its scale, n its W codes of -127 to 127, e what
// is lost. Chunks lie in groups of 16, so that 16 of them are scored side by side. A group:
//   codes        [ceil(W / 4), 16, 4] uint8, n + 128; dimensions beyond W have code 0
//   scales       [16] f32, s
//   error_norms  [16] f32, at least |e|; infinite where the key is not finite or very large
//   norms        [16] f32, at least |k|
namespace msa::kernels {

inline constexpr int64_t kChunksPerGroup = 16;

// Dimensions in steps of four, the bytes of one group and of the groups of so many chunks.
constexpr int64_t QuantizedSteps(int64_t width) { return (width + 3) / 4; }
constexpr int64_t QuantizedGroupBytes(int64_t width) {
  return 64 * QuantizedSteps(width) + 3 * 4 * kChunksPerGroup;
}
constexpr int64_t QuantizedKeyBytes(int64_t num_chunks, int64_t width) {
  return (num_chunks + kChunksPerGroup - 1) / kChunksPerGroup * QuantizedGroupBytes(width);
}

// Writes chunks first_chunk .. first_chunk + num_chunks of the groups at `groups` from their keys
// [num_chunks, width] in bf16 or f32. Other chunks of the same groups stay. One thread; the same on
// all levels but for the last bits of norms, which are bounds on each.
void QuantizeKeys(const void* keys, DType dtype, int64_t width, int64_t first_chunk,
                  int64_t num_chunks, std::byte* groups);

// Copies such chunks from one array of groups to another.
void CopyQuantizedKeys(const std::byte* from, int64_t from_chunk, int64_t num_chunks, int64_t width,
                       std::byte* to, int64_t to_chunk);

// One row of `width` values in codes of -limit to limit.
struct QuantizedRow {
  float scale = 0;
  float error_norm = 0;  // infinite: the row is not finite or very large, its codes are 0
  float norm = 0;
};
// codes [4 * QuantizedSteps(width)], 0 beyond width.
QuantizedRow QuantizeRow(const float* row, int64_t width, int limit, int8_t* codes);

}  // namespace msa::kernels
