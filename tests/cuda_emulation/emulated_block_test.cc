// What kernels may rely on: who they are, barriers, shared memory and exchanges within a warp.
#include "tests/cuda_emulation/emulated_block.h"

#include <cstring>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cuda_emulation/cuda_runtime.h"
#include "tests/cuda_emulation/kernels/core/cuda_launch.cuh"

namespace msa::cuda_emulation {
namespace {

using kernels::cuda::Launch;
using kernels::cuda::SharedMemory;

constexpr uint32_t kAll = 0xffffffff;

void CountVisits(int* visits) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  visits[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1;
}

TEST(EmulatedBlockTest, EveryThreadOfEveryBlockRunsOnce) {
  std::vector<int> visits(2 * 3 * 2 * 5 * 3 * 2);
  ASSERT_EQ(Launch(nullptr, dim3(2, 3, 2), dim3(5, 3, 2), 0, CountVisits, visits.data()),
            cudaSuccess);
  EXPECT_THAT(visits, testing::Each(1));
}

// Each thread passes its number to the next one, twice, through shared memory of both kinds.
void TurnRound(int* out) {
  __shared__ int fixed[96];
  auto* const dynamic = reinterpret_cast<int*>(SharedMemory());
  const unsigned next = (threadIdx.x + 1) % blockDim.x;
  fixed[next] = static_cast<int>(threadIdx.x + 1000 * blockIdx.x);
  __syncthreads();
  dynamic[next] = fixed[threadIdx.x];
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = dynamic[threadIdx.x];
}

TEST(EmulatedBlockTest, WhatWasWrittenBeforeABarrierIsThereBehindIt) {
  std::vector<int> out(2 * 96);
  ASSERT_EQ(Launch(nullptr, 2, 96, 96 * sizeof(int), TurnRound, out.data()), cudaSuccess);
  for (int block = 0; block < 2; ++block) {
    for (int t = 0; t < 96; ++t)
      EXPECT_EQ(out[static_cast<size_t>(96 * block + t)], 1000 * block + (t + 94) % 96);
  }
}

void AddUpAndAsk(int* sums, uint32_t* odd, int* shifted) {
  int sum = static_cast<int>(threadIdx.x);
  for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(kAll, sum, mask);
  sums[threadIdx.x] = sum;
  odd[threadIdx.x] = __ballot_sync(kAll, threadIdx.x % 2 == 1);
  const int mine = static_cast<int>(threadIdx.x);
  shifted[threadIdx.x] = 10000 * __shfl_sync(kAll, mine, 3) +
                         100 * __shfl_down_sync(kAll, mine, 2) + __shfl_up_sync(kAll, mine, 1);
}

TEST(EmulatedBlockTest, WarpsExchangeAmongThemselves) {
  std::vector<int> sums(64), shifted(64);
  std::vector<uint32_t> odd(64);
  ASSERT_EQ(Launch(nullptr, 1, 64, 0, AddUpAndAsk, sums.data(), odd.data(), shifted.data()),
            cudaSuccess);
  for (int t = 0; t < 64; ++t) {
    const auto i = static_cast<size_t>(t);
    const int first = t / 32 * 32, lane = t % 32;
    EXPECT_EQ(sums[i], 32 * first + 31 * 16);
    EXPECT_EQ(odd[i], 0xaaaaaaaau);
    const int down = lane + 2 < 32 ? t + 2 : t, up = lane > 0 ? t - 1 : t;
    EXPECT_EQ(shifted[i], 10000 * (first + 3) + 100 * down + up) << "thread " << t;
  }
}

void LoseOne() {
  if (threadIdx.x < 40) __syncwarp();  // lanes 8 to 31 of the second warp stay away
}

TEST(EmulatedBlockDeathTest, AnExchangeThatSomeStayAwayFromEndsTheProgram) {
  EXPECT_DEATH((void)Launch(nullptr, 1, 64, 0, LoseOne), "threads wait for others");
}

}  // namespace
}  // namespace msa::cuda_emulation
