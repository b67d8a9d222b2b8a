#include "tests/cuda_emulation/emulated_block.h"

#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace msa::cuda_emulation {
namespace {

constexpr size_t kStackBytes = 64 * 1024;
constexpr size_t kSharedAlignment = 128;

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "emulated CUDA kernel: %s\n", what);
  std::abort();
}

enum class Waits { kNot, kForBlock, kForWarp, kEnded };

struct Fiber {
  ucontext_t context{};
  Index3 index;
  Waits waits = Waits::kNot;
  uint64_t exchanges = 0;  // that it has taken part in
};

// What the lanes of a warp gave in an exchange: of an even and of an odd one, as the first lanes
// may be in the next one before the last ones have read.
struct Warp {
  std::array<std::array<ExchangeWords, kWarpThreads>, 2> given;
};

struct Block {
  const std::function<void()>* kernel = nullptr;
  ucontext_t scheduler{};
  Index3 index, size, grid;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::unique_ptr<std::byte[]> stacks;
  std::unique_ptr<std::byte[]> shared;
  size_t running = 0;

  Fiber& fiber() { return fibers[running]; }
};

thread_local Block* block = nullptr;

Block& Running() {
  if (block == nullptr) Fail("asked outside a kernel");
  return *block;
}

void Yield() { swapcontext(&Running().fiber().context, &Running().scheduler); }

void RunFiber() {
  (*block->kernel)();
  block->fiber().waits = Waits::kEnded;
  Yield();
}

void Reset(Fiber& fiber, std::byte* stack, const Index3& index) {
  fiber = Fiber{};
  fiber.index = index;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, &RunFiber, 0);
}

// Lets every thread go on that can: one pass over the block.
bool RunThoseThatCan(Block& b) {
  bool any = false;
  for (size_t i = 0; i < b.fibers.size(); ++i) {
    if (b.fibers[i].waits != Waits::kNot) continue;
    b.running = i;
    swapcontext(&b.scheduler, &b.fibers[i].context);
    any = true;
  }
  return any;
}

// A barrier is passed when all threads that have not ended are at it.
bool ReleaseBlock(Block& b) {
  size_t waiting = 0, ended = 0;
  for (const Fiber& fiber : b.fibers) {
    waiting += fiber.waits == Waits::kForBlock;
    ended += fiber.waits == Waits::kEnded;
  }
  if (waiting == 0 || waiting + ended < b.fibers.size()) return false;
  for (Fiber& fiber : b.fibers) {
    if (fiber.waits == Waits::kForBlock) fiber.waits = Waits::kNot;
  }
  return true;
}

// An exchange is over when all threads of the warp have given their words.
bool ReleaseWarps(Block& b) {
  bool any = false;
  for (size_t first = 0; first < b.fibers.size(); first += kWarpThreads) {
    const size_t end = std::min(first + kWarpThreads, b.fibers.size());
    bool all = true;
    for (size_t i = first; i < end; ++i) all = all && b.fibers[i].waits == Waits::kForWarp;
    if (!all) continue;
    for (size_t i = first; i < end; ++i) b.fibers[i].waits = Waits::kNot;
    any = true;
  }
  return any;
}

void RunBlock(Block& b) {
  const size_t num_threads = b.fibers.size();
  for (size_t i = 0; i < num_threads; ++i) {
    const auto t = static_cast<unsigned>(i);
    Reset(b.fibers[i], b.stacks.get() + i * kStackBytes,
          {t % b.size.x, t / b.size.x % b.size.y, t / b.size.x / b.size.y});
  }
  b.warps.assign((num_threads + kWarpThreads - 1) / kWarpThreads, Warp{});
  while (true) {
    const bool ran = RunThoseThatCan(b);
    const bool released = ReleaseWarps(b) | ReleaseBlock(b);
    if (ran || released) continue;
    for (const Fiber& fiber : b.fibers) {
      if (fiber.waits != Waits::kEnded)
        Fail("threads wait for others that have ended or wait elsewhere");
    }
    return;
  }
}

}  // namespace

const Index3& ThreadIndex() { return Running().fiber().index; }
const Index3& BlockIndex() { return Running().index; }
const Index3& BlockSize() { return Running().size; }
const Index3& GridSize() { return Running().grid; }

std::byte* DynamicSharedMemory() {
  const auto address = reinterpret_cast<uintptr_t>(Running().shared.get());
  return Running().shared.get() +
         (kSharedAlignment - address % kSharedAlignment) % kSharedAlignment;
}

void WaitForBlock() {
  Running().fiber().waits = Waits::kForBlock;
  Yield();
}

const std::array<ExchangeWords, kWarpThreads>& ExchangeInWarp(const ExchangeWords& words) {
  Block& b = Running();
  Fiber& fiber = b.fiber();
  std::array<ExchangeWords, kWarpThreads>& given =
      b.warps[b.running / kWarpThreads].given[fiber.exchanges++ % 2];
  given[b.running % kWarpThreads] = words;
  fiber.waits = Waits::kForWarp;
  Yield();
  return given;
}

void RunBlocks(const Index3& blocks, const Index3& threads, size_t shared_bytes,
               const std::function<void()>& kernel) {
  if (block != nullptr) Fail("a kernel starts a kernel");
  const size_t num_threads = size_t{threads.x} * threads.y * threads.z;
  if (num_threads == 0 || num_threads > 1024) Fail("a block has 1 to 1,024 threads");
  Block b;
  b.kernel = &kernel;
  b.size = threads;
  b.grid = blocks;
  b.fibers.resize(num_threads);
  b.stacks = std::make_unique_for_overwrite<std::byte[]>(num_threads * kStackBytes);
  b.shared = std::make_unique_for_overwrite<std::byte[]>(shared_bytes + kSharedAlignment);
  block = &b;
  for (b.index.z = 0; b.index.z < blocks.z; ++b.index.z) {
    for (b.index.y = 0; b.index.y < blocks.y; ++b.index.y) {
      for (b.index.x = 0; b.index.x < blocks.x; ++b.index.x) RunBlock(b);
    }
  }
  block = nullptr;
}

}  // namespace msa::cuda_emulation
