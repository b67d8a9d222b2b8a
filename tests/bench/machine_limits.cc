#include "tests/bench/machine_limits.h"

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <ctime>

#include "kernels/core/cpu_features.h"

namespace msa::bench {
namespace {

// Measurements are short and many, and the best counts: other processes on the machine then spoil
// only some of them.
constexpr int64_t kSteps = 20'000;
constexpr int kRounds = 300;
constexpr int kChains = 12;  // enough to hide the latency of a multiply-add on two units

// Keeps a value alive and unknown to the compiler, which would otherwise drop it or merge equal
// chains.
template <class T>
void Hide(T& value) {
  asm volatile("" : "+m"(value) : : "memory");
}

__attribute__((target("avx2,fma"))) double MultiplyAvx2() {
  __m256 sums[kChains] = {};
  for (__m256& sum : sums) Hide(sum);
  __m256 x = _mm256_set1_ps(0.999f);
  __m256 y = _mm256_set1_ps(1e-6f);
  for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sums[i] = _mm256_fmadd_ps(sums[i], x, y);
  }
  for (__m256& sum : sums) Hide(sum);
  return 2.0 * 8 * kChains * kSteps;
}

__attribute__((target("avx512f"))) double MultiplyAvx512() {
  __m512 sums[kChains] = {};
  for (__m512& sum : sums) Hide(sum);
  __m512 x = _mm512_set1_ps(0.999f);
  __m512 y = _mm512_set1_ps(1e-6f);
  for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_fmadd_ps(sums[i], x, y);
  }
  for (__m512& sum : sums) Hide(sum);
  return 2.0 * 16 * kChains * kSteps;
}

__attribute__((target("avx512f,avx512bw,avx512bf16"))) double MultiplyBf16Pairs() {
  __m512 sums[kChains] = {};
  for (__m512& sum : sums) Hide(sum);
  const __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f00);
  for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], x, x);
  }
  for (__m512& sum : sums) Hide(sum);
  return 2.0 * 32 * kChains * kSteps;
}

// Tiles of zeros, four sums.
__attribute__((target("amx-tile,amx-bf16"))) double MultiplyTiles() {
  struct alignas(64) {
    uint8_t palette[16] = {1};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t num_rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } static const configuration;
  _tile_loadconfig(&configuration);
  for (int64_t step = 0; step < kSteps; ++step) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return 2.0 * 16 * 16 * 32 * 4 * kSteps;
}

// bf16 products by the level's own instruction, where it has one.
double (*Bf16Multiply(kernels::CpuLevel level))() {
  if (level == kernels::CpuLevel::kAmx) return &MultiplyTiles;
  return level == kernels::CpuLevel::kAvx512Bf16 ? &MultiplyBf16Pairs : nullptr;
}

double OperationsPerSecond(kernels::ThreadPool& pool, const Clock& clock, double (*multiply)()) {
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    double operations = 0;
    const double start = clock.Now();
    pool.ParallelFor(pool.num_threads(), [&](int64_t task) {
      const double count = multiply();
      if (task == 0) operations = count;
    });
    best = std::max(best, operations * pool.num_threads() / (clock.Now() - start));
  }
  return best;
}

// Reads a whole number of cache lines.
__attribute__((target("avx2"))) void Read(const uint64_t* data, size_t count) {
  __m256i sums[4] = {};
  for (size_t i = 0; i + 16 <= count; i += 16) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      sums[j] = _mm256_xor_si256(
          sums[j], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + 4 * j)));
    }
    _mm_prefetch(reinterpret_cast<const char*>(data + i) + 4096, _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(data + i) + 4160, _MM_HINT_T0);
  }
  for (__m256i& sum : sums) Hide(sum);
}

double ReadBytesPerSecond(kernels::ThreadPool& pool, const Clock& clock, const uint64_t* buffer,
                          size_t size) {
  constexpr size_t kPart = (size_t{2} << 20) / sizeof(uint64_t);
  const auto parts_at_a_time = static_cast<size_t>(pool.num_threads());
  double best = 0;
  for (size_t first = 0; first + parts_at_a_time * kPart <= size;
       first += parts_at_a_time * kPart) {
    const double start = clock.Now();
    pool.ParallelFor(pool.num_threads(), [&](int64_t task) {
      Read(buffer + first + static_cast<size_t>(task) * kPart, kPart);
    });
    best = std::max(best, static_cast<double>(parts_at_a_time * kPart * sizeof(uint64_t)) /
                              (clock.Now() - start));
  }
  return best;
}

}  // namespace

double Clock::Now() const {
  timespec time{};
  clock_gettime(processor_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  const double seconds =
      static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  return processor_time ? seconds / threads : seconds;
}

MachineLimits MeasureLimits(kernels::ThreadPool& pool, const Clock& clock, const void* buffer,
                            size_t buffer_bytes) {
  MachineLimits limits;
  limits.read_bytes_per_second = ReadBytesPerSecond(
      pool, clock, static_cast<const uint64_t*>(buffer), buffer_bytes / sizeof(uint64_t));
  const kernels::CpuLevel level = kernels::ActiveCpuLevel();
  limits.f32_operations_per_second = OperationsPerSecond(
      pool, clock, level == kernels::CpuLevel::kAvx2 ? &MultiplyAvx2 : &MultiplyAvx512);
  double (*const bf16)() = Bf16Multiply(level);
  limits.bf16_operations_per_second =
      bf16 == nullptr ? limits.f32_operations_per_second : OperationsPerSecond(pool, clock, bf16);
  return limits;
}

}  // namespace msa::bench
