// The amx level: the machine's tiles. The instructions are written out, as the compiler's names for
// them take literal tile numbers only.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/core/aligned_buffer.h"
#include "kernels/ops/dot_product.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16")
namespace msa::kernels::amx {
namespace {

#include "kernels/ops/dot_amx-inl.h"

struct alignas(64) TileConfiguration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t num_rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfiguration) == 64);

// GCC 12 takes the unmasked forms' undefined operand for a mistake of ours.
constexpr __mmask16 kAll = 0xffff;
constexpr __mmask8 kAllPairs = 0xff;

// columns[m][n] = rows[n][m]: four by four values within 128 bits, then the 128-bit blocks.
void Transpose(const float* rows, __m512* columns) {
  __m512 quads[16];
#pragma GCC unroll 4
  for (int n = 0; n < 16; n += 4) {
    const __m512 a = _mm512_load_ps(rows + 16 * n);
    const __m512 b = _mm512_load_ps(rows + 16 * (n + 1));
    const __m512 c = _mm512_load_ps(rows + 16 * (n + 2));
    const __m512 d = _mm512_load_ps(rows + 16 * (n + 3));
    const __m512d ab_low = _mm512_castps_pd(_mm512_maskz_unpacklo_ps(kAll, a, b));
    const __m512d ab_high = _mm512_castps_pd(_mm512_maskz_unpackhi_ps(kAll, a, b));
    const __m512d cd_low = _mm512_castps_pd(_mm512_maskz_unpacklo_ps(kAll, c, d));
    const __m512d cd_high = _mm512_castps_pd(_mm512_maskz_unpackhi_ps(kAll, c, d));
    quads[n] = _mm512_castpd_ps(_mm512_maskz_unpacklo_pd(kAllPairs, ab_low, cd_low));
    quads[n + 1] = _mm512_castpd_ps(_mm512_maskz_unpackhi_pd(kAllPairs, ab_low, cd_low));
    quads[n + 2] = _mm512_castpd_ps(_mm512_maskz_unpacklo_pd(kAllPairs, ab_high, cd_high));
    quads[n + 3] = _mm512_castpd_ps(_mm512_maskz_unpackhi_pd(kAllPairs, ab_high, cd_high));
  }
  // Block b of quads[4 i + j] holds rows 4 i .. 4 i + 3 of column 4 b + j.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 even_low = _mm512_maskz_shuffle_f32x4(kAll, quads[j], quads[4 + j], 0x88);
    const __m512 even_high = _mm512_maskz_shuffle_f32x4(kAll, quads[8 + j], quads[12 + j], 0x88);
    const __m512 odd_low = _mm512_maskz_shuffle_f32x4(kAll, quads[j], quads[4 + j], 0xdd);
    const __m512 odd_high = _mm512_maskz_shuffle_f32x4(kAll, quads[8 + j], quads[12 + j], 0xdd);
    columns[j] = _mm512_maskz_shuffle_f32x4(kAll, even_low, even_high, 0x88);
    columns[4 + j] = _mm512_maskz_shuffle_f32x4(kAll, odd_low, odd_high, 0x88);
    columns[8 + j] = _mm512_maskz_shuffle_f32x4(kAll, even_low, even_high, 0xdd);
    columns[12 + j] = _mm512_maskz_shuffle_f32x4(kAll, odd_low, odd_high, 0xdd);
  }
}

struct MachineTiles {
  static void Begin() {
    static const TileConfiguration configuration;
    _tile_loadconfig(&configuration);
  }
  static void End() { _tile_release(); }

  template <int T>
  static void Zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(T));
  }
  template <int T>
  static void Load(const void* first_row, size_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
                 :
                 : "r"(first_row), "r"(stride), "i"(T)
                 : "memory");
  }
  template <int C, int A, int B>
  static void Dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
  template <int C>
  static void Store(float* sums) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
                 :
                 : "r"(sums), "r"(size_t{64}), "i"(C)
                 : "memory");
  }

  static void PreparePairs(const float* row, size_t count, uint32_t* pairs) {
    amx::PreparePairs(row, count, pairs);
  }
  static void WriteProducts(const float* sums, size_t num_rows, size_t num_stored,
                            const DotBlock& block, float* out) {
    amx::WriteProducts(sums, num_rows, num_stored, block, out);
  }
};

}  // namespace

void PreparePairs(const float* row, size_t count, uint32_t* pairs) {
  const auto mask = static_cast<uint32_t>((uint64_t{1} << count) - 1);
  const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), row);
  const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), row + 16);
  _mm512_storeu_si512(pairs, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

void WriteProducts(const float* sums, size_t num_rows, size_t num_stored, const DotBlock& block,
                   float* out) {
  const auto mask = static_cast<__mmask16>((uint32_t{1} << num_stored) - 1);
  __m512 columns[16];
  Transpose(sums, columns);
  for (size_t m = 0; m < num_rows; ++m, out += block.out_stride) {
    const __m512 before = block.add ? _mm512_maskz_loadu_ps(mask, out) : _mm512_setzero_ps();
    _mm512_mask_storeu_ps(out, mask, block.add ? _mm512_add_ps(before, columns[m]) : columns[m]);
  }
}

DotKernel Bf16TilesKernel() { return AmxProducts<MachineTiles>::Kernel(); }

}  // namespace msa::kernels::amx
HWY_POP_ATTRIBUTES
