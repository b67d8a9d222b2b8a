#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// bf16 and f32 on a CUDA device, as ToF32 and ToBF16 of dtype.h; bf16 values are their bits.
namespace msa::kernels::cuda {

__device__ inline float ToF32(float value) { return value; }
__device__ inline float ToF32(uint16_t bits) { return __uint_as_float(uint32_t{bits} << 16); }

// To nearest, ties to even; NaN stays a (quiet) NaN.
__device__ inline uint16_t ToBF16(float value) {
  const uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// From and to the type that an array has.
template <class To>
struct ConvertTo;
template <>
struct ConvertTo<float> {
  template <class From>
  static __device__ float Of(From value) {
    return ToF32(value);
  }
};
template <>
struct ConvertTo<uint16_t> {
  static __device__ uint16_t Of(uint16_t bits) { return bits; }
  static __device__ uint16_t Of(float value) { return ToBF16(value); }
};

}  // namespace msa::kernels::cuda
