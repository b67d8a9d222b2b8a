#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tests/cuda_emulation/cuda_runtime_api.h"
#include "tests/cuda_emulation/emulated_block.h"

// CUDA's words for kernels, for emulated_block.h. Found instead of NVIDIA's header in a build with
// MSA_CUDA=EMULATED.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
// A block runs on one thread of the CPU, one block after the other.
#define __shared__ static thread_local

#define threadIdx (::msa::cuda_emulation::ThreadIndex())
#define blockIdx (::msa::cuda_emulation::BlockIndex())
#define blockDim (::msa::cuda_emulation::BlockSize())
#define gridDim (::msa::cuda_emulation::GridSize())
inline constexpr int warpSize = 32;

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

inline void __syncthreads() { msa::cuda_emulation::WaitForBlock(); }
inline void __syncwarp(uint32_t = 0xffffffff) { msa::cuda_emulation::ExchangeInWarp({}); }

namespace msa::cuda_emulation {

inline unsigned Lane() {
  const Index3& at = ThreadIndex();
  const Index3& size = BlockSize();
  return (at.x + size.x * (at.y + size.y * at.z)) % kWarpThreads;
}

// What lane `source(own lane)` gave; the own value where there is no such lane.
template <class T, class Source>
T Shuffle(T value, Source source) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  ExchangeWords words{};
  __builtin_memcpy(words.data(), &value, sizeof(T));
  const auto& given = ExchangeInWarp(words);
  const unsigned lane = source(Lane());
  if (lane < kWarpThreads) __builtin_memcpy(&value, given[lane].data(), sizeof(T));
  return value;
}

}  // namespace msa::cuda_emulation

template <class T>
T __shfl_sync(uint32_t, T value, int source) {
  return msa::cuda_emulation::Shuffle(value, [&](unsigned) { return source & 31u; });
}
template <class T>
T __shfl_xor_sync(uint32_t, T value, int mask) {
  return msa::cuda_emulation::Shuffle(
      value, [&](unsigned lane) { return lane ^ static_cast<unsigned>(mask); });
}
template <class T>
T __shfl_down_sync(uint32_t, T value, unsigned delta) {
  return msa::cuda_emulation::Shuffle(value, [&](unsigned lane) { return lane + delta; });
}
template <class T>
T __shfl_up_sync(uint32_t, T value, unsigned delta) {
  return msa::cuda_emulation::Shuffle(value, [&](unsigned lane) { return lane - delta; });
}
inline uint32_t __ballot_sync(uint32_t, bool predicate) {
  const auto& given = msa::cuda_emulation::ExchangeInWarp({predicate ? 1u : 0u});
  uint32_t ballot = 0;
  for (unsigned lane = 0; lane < 32; ++lane) ballot |= given[lane][0] << lane;
  return ballot;
}

inline uint32_t __float_as_uint(float value) { return std::bit_cast<uint32_t>(value); }
inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
using std::max;
using std::min;
