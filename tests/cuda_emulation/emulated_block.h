#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

// CUDA's threads on the CPU: the kernels' own code runs thread by thread on the calling thread,
// block after block. A thread runs until it ends or must wait for others, at a barrier of its block
// or at an exchange within its warp; then the next one runs. So results do not depend on timing,
// and races between barriers are not seen. Threads that wait for each other at different places end
// the program with a message. For tests of what a kernel computes; says nothing about speed.
namespace msa::cuda_emulation {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};

constexpr unsigned kWarpThreads = 32;
constexpr size_t kExchangeWords = 8;  // that a thread gives the others of its warp at a time
using ExchangeWords = std::array<uint32_t, kExchangeWords>;

// What a running kernel asks about itself. Only inside RunBlocks.
const Index3& ThreadIndex();
const Index3& BlockIndex();
const Index3& BlockSize();
const Index3& GridSize();
std::byte* DynamicSharedMemory();  // aligned to 128 bytes, not initialised

// Waits until every thread of the block that has not ended is here.
void WaitForBlock();

// Gives `words` to the other threads of the warp and waits until all of them, none of which may
// have ended, have given theirs. The result, by lane, holds until this thread's next exchange.
const std::array<ExchangeWords, kWarpThreads>& ExchangeInWarp(const ExchangeWords& words);

// Runs `kernel` once for every thread of every block, `shared_bytes` of dynamic shared memory each.
void RunBlocks(const Index3& blocks, const Index3& threads, size_t shared_bytes,
               const std::function<void()>& kernel);

}  // namespace msa::cuda_emulation
