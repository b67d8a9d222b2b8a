#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/core/aligned_buffer.h"
#include "kernels/ops/convert_rows.h"
#include "kernels/ops/cpu_dispatch.h"
#include "kernels/ops/quantized_keys.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/quantized_keys_cpu.cc"
#include "hwy/foreach_target.h"

// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msa::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// The largest magnitude of a row; infinite where a value is infinite or NaN.
float LargestMagnitude(const float* row, size_t width) {
  const hn::ScalableTag<float> f32;
  auto largest = hn::Zero(f32);
  auto poison = hn::Zero(f32);  // zeros, but NaN after a value that is not finite
  const size_t vectors = width / hn::Lanes(f32) * hn::Lanes(f32);
  for (size_t i = 0; i < vectors; i += hn::Lanes(f32)) {
    const auto value = hn::LoadU(f32, row + i);
    largest = hn::Max(largest, hn::Abs(value));
    poison = hn::MulAdd(value, hn::Zero(f32), poison);
  }
  float result = hn::GetLane(hn::MaxOfLanes(f32, largest));
  float sum = hn::GetLane(hn::SumOfLanes(f32, poison));
  for (size_t i = vectors; i < width; ++i) {
    result = std::max(result, std::abs(row[i]));
    sum += row[i] * 0.0f;
  }
  return sum == 0 ? result : std::numeric_limits<float>::infinity();
}

// codes[i] = n of y = row[i] * inverse_scale, the nearest whole number; |y| is at most 127. Also
// the sums of y * y and of (y - n) * (y - n).
void WriteCodes(const float* row, size_t width, float inverse_scale, int8_t* codes,
                double* sum_of_squares, double* sum_of_errors) {
  const hn::ScalableTag<float> f32;
  const hn::Rebind<int8_t, decltype(f32)> i8;
  auto squares = hn::Zero(f32);
  auto errors = hn::Zero(f32);
  const auto inverse = hn::Set(f32, inverse_scale);
  const size_t vectors = width / hn::Lanes(f32) * hn::Lanes(f32);
  for (size_t i = 0; i < vectors; i += hn::Lanes(f32)) {
    const auto y = hn::Mul(hn::LoadU(f32, row + i), inverse);
    const auto n = hn::NearestInt(y);
    const auto error = hn::Sub(y, hn::ConvertTo(f32, n));
    squares = hn::MulAdd(y, y, squares);
    errors = hn::MulAdd(error, error, errors);
    hn::StoreU(hn::DemoteTo(i8, n), i8, codes + i);
  }
  *sum_of_squares = hn::GetLane(hn::SumOfLanes(f32, squares));
  *sum_of_errors = hn::GetLane(hn::SumOfLanes(f32, errors));
  for (size_t i = vectors; i < width; ++i) {
    const float y = row[i] * inverse_scale;
    const float n = std::nearbyint(y);
    *sum_of_squares += static_cast<double>(y) * y;
    *sum_of_errors += static_cast<double>(y - n) * (y - n);
    codes[i] = static_cast<int8_t>(n);
  }
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels {
namespace {

// Beyond these a bound could overflow or vanish in f32.
constexpr float kLargest = 1e15f;
constexpr float kSmallest = 1e-25f;
// The norms are sums of up to thousands of f32 squares; so much covers what rounding takes.
constexpr double kSlack = 1.0 + 1.0 / 1024;

}  // namespace

QuantizedRow QuantizeRow(const float* row, int64_t width, int limit, int8_t* codes) {
  const auto size = static_cast<size_t>(width);
  std::memset(codes, 0, static_cast<size_t>(4 * QuantizedSteps(width)));
  const float largest =
      SelectTarget(&N_AVX2::LargestMagnitude, &N_AVX3::LargestMagnitude)(row, size);
  if (!(largest <= kLargest)) return {0, std::numeric_limits<float>::infinity(), 0};
  const double root = std::sqrt(static_cast<double>(width));
  if (largest < kSmallest) {
    // Not below what f32 holds in full.
    const auto norm = largest == 0 ? 0.0f : static_cast<float>(largest * root * kSlack + 0x1p-126);
    return {0, norm, norm};
  }
  const float scale = largest / static_cast<float>(limit);
  double squares = 0, errors = 0;
  SelectTarget(&N_AVX2::WriteCodes, &N_AVX3::WriteCodes)(row, size, 1.0f / scale, codes, &squares,
                                                         &errors);
  // y is off by a few units in the last place of at most 127, each value's error by no more.
  const double rounding = root / 32768;
  return {scale, static_cast<float>(scale * (std::sqrt(errors) * kSlack + rounding)),
          static_cast<float>(scale * (std::sqrt(squares) * kSlack + rounding))};
}

void QuantizeKeys(const void* keys, DType dtype, int64_t width, int64_t first_chunk,
                  int64_t num_chunks, std::byte* groups) {
  static thread_local AlignedBuffer row_buffer;
  static thread_local AlignedBuffer code_buffer;
  const auto steps = static_cast<size_t>(QuantizedSteps(width));
  const auto row_bytes = static_cast<size_t>(width) * SizeOf(dtype);
  auto* const row = row_buffer.Get<float>(static_cast<size_t>(width));
  auto* const codes = code_buffer.Get<int8_t>(4 * steps);
  for (int64_t i = 0; i < num_chunks; ++i) {
    ConvertRow(static_cast<const std::byte*>(keys) + static_cast<size_t>(i) * row_bytes, dtype,
               static_cast<size_t>(width), row, DType::kF32);
    const QuantizedRow quantized = QuantizeRow(row, width, 127, codes);
    const int64_t chunk = first_chunk + i;
    std::byte* const group = groups + chunk / kChunksPerGroup * QuantizedGroupBytes(width);
    const auto place = static_cast<size_t>(chunk % kChunksPerGroup);
    for (size_t step = 0; step < steps; ++step) {
      std::byte four[4];
      std::memcpy(four, codes + 4 * step, 4);
      for (std::byte& code : four) code ^= std::byte{0x80};  // + 128
      std::memcpy(group + 64 * step + 4 * place, four, 4);
    }
    const float numbers[] = {quantized.scale, quantized.error_norm, quantized.norm};
    for (size_t n = 0; n < 3; ++n) {
      std::memcpy(group + 64 * (steps + n) + 4 * place, &numbers[n], sizeof(float));
    }
  }
}

void CopyQuantizedKeys(const std::byte* from, int64_t from_chunk, int64_t num_chunks, int64_t width,
                       std::byte* to, int64_t to_chunk) {
  const int64_t group_bytes = QuantizedGroupBytes(width);
  for (int64_t i = 0; i < num_chunks; ++i, ++from_chunk, ++to_chunk) {
    const std::byte* source =
        from + from_chunk / kChunksPerGroup * group_bytes + from_chunk % kChunksPerGroup * 4;
    std::byte* target =
        to + to_chunk / kChunksPerGroup * group_bytes + to_chunk % kChunksPerGroup * 4;
    // Codes four by four, then the three numbers.
    for (int64_t at = 0; at < group_bytes; at += 64) std::memcpy(target + at, source + at, 4);
  }
}

}  // namespace msa::kernels
#endif
