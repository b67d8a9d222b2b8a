// int8_scan.h by vpdpbusd.
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "hwy/highway.h"
#include "kernels/ops/int8_scan.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
namespace msa::kernels::avx512_vnni {
namespace {

constexpr size_t kMostTileRows = 12;
constexpr size_t kGroupsPerTile = 2;

using Sums = __m512i;
using Codes = __m512i;
using Floats = __m512;

inline Sums ZeroSums() { return _mm512_setzero_si512(); }
inline Codes LoadCodes(const std::byte* codes) { return _mm512_load_si512(codes); }
inline __m512i BroadcastFour(const int8_t* codes) {
  int32_t four;
  std::memcpy(&four, codes, sizeof(four));
  return _mm512_set1_epi32(four);
}
inline void AddProducts(Codes keys, __m512i four, Sums* sums) {
  *sums = _mm512_dpbusd_epi32(*sums, keys, four);
}
inline Floats LoadFloats(const float* values) { return _mm512_load_ps(values); }
// With masks of ones: GCC 12 warns of its own header's forms without them.
inline Floats ToFloats(Sums sums, int32_t bias) {
  return _mm512_maskz_cvtepi32_ps(0xffff, _mm512_sub_epi32(sums, _mm512_set1_epi32(bias)));
}
inline void StoreLarger(float* target, Floats values) {
  _mm512_storeu_ps(target, _mm512_maskz_max_ps(0xffff, values, _mm512_loadu_ps(target)));
}

#include "kernels/ops/int8_scan-inl.h"

}  // namespace

Int8ScanKernel ScanKernel() { return {127, kMostTileRows, &Scan}; }

}  // namespace msa::kernels::avx512_vnni
HWY_POP_ATTRIBUTES
