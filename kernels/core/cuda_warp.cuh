#pragma once

#include "kernels/core/cuda_launch.cuh"

namespace msa::kernels::cuda {

constexpr int kWarpSize = 32;

// The sum of a value over the warp, the same bits in every lane: lanes are added in pairs, whatever
// the block.
__device__ inline float WarpReduceSum(float value) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2)
    value += __shfl_xor_sync(0xffffffff, value, mask);
  return value;
}

}  // namespace msa::kernels::cuda
