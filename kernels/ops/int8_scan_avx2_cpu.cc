// int8_scan.h with AVX2 alone: products of bytes are added in pairs of 16 bits, then of 32.
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "hwy/highway.h"
#include "kernels/ops/int8_scan.h"

HWY_PUSH_ATTRIBUTES("avx2,fma")
namespace msa::kernels::avx2_pairs {
namespace {

constexpr size_t kMostTileRows = 4;
constexpr size_t kGroupsPerTile = 1;

struct Sums {
  __m256i low, high;
};
struct Codes {
  __m256i low, high;
};
struct Floats {
  __m256 low, high;
  friend Floats operator+(Floats a, Floats b) { return {a.low + b.low, a.high + b.high}; }
  friend Floats operator-(Floats a, Floats b) { return {a.low - b.low, a.high - b.high}; }
  friend Floats operator*(Floats a, Floats b) { return {a.low * b.low, a.high * b.high}; }
  friend Floats operator*(float a, Floats b) { return {a * b.low, a * b.high}; }
};

inline Sums ZeroSums() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Codes LoadCodes(const std::byte* codes) {
  const auto* const halves = reinterpret_cast<const __m256i*>(codes);
  return {_mm256_load_si256(halves), _mm256_load_si256(halves + 1)};
}
inline __m256i BroadcastFour(const int8_t* codes) {
  int32_t four;
  std::memcpy(&four, codes, sizeof(four));
  return _mm256_set1_epi32(four);
}
// A pair's sum is at most 2 * 255 * 64, which 16 bits hold.
inline __m256i Products(__m256i keys, __m256i four) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(keys, four), _mm256_set1_epi16(1));
}
inline void AddProducts(Codes keys, __m256i four, Sums* sums) {
  sums->low = _mm256_add_epi32(sums->low, Products(keys.low, four));
  sums->high = _mm256_add_epi32(sums->high, Products(keys.high, four));
}
inline Floats LoadFloats(const float* values) {
  return {_mm256_load_ps(values), _mm256_load_ps(values + 8)};
}
inline Floats ToFloats(Sums sums, int32_t bias) {
  const __m256i biases = _mm256_set1_epi32(bias);
  return {_mm256_cvtepi32_ps(_mm256_sub_epi32(sums.low, biases)),
          _mm256_cvtepi32_ps(_mm256_sub_epi32(sums.high, biases))};
}
inline void StoreLarger(float* target, Floats values) {
  _mm256_storeu_ps(target, _mm256_max_ps(values.low, _mm256_loadu_ps(target)));
  _mm256_storeu_ps(target + 8, _mm256_max_ps(values.high, _mm256_loadu_ps(target + 8)));
}

#include "kernels/ops/int8_scan-inl.h"

}  // namespace

Int8ScanKernel ScanKernel() { return {64, kMostTileRows, &Scan}; }

}  // namespace msa::kernels::avx2_pairs
HWY_POP_ATTRIBUTES
