#pragma once

#include "kernels/core/thread_pool.h"

namespace msa::kernels {

enum class DeviceKind { kCpu, kCuda };

// Where an op runs. Every op takes one as its first argument.
struct OpContext {
  DeviceKind device = DeviceKind::kCpu;
  ThreadPool* pool = nullptr;  // not owned; needed on the CPU
};

// How products are computed. Accumulation is f32 in both; see docs/numerics.md.
enum class ComputeDType {
  kF32,   // inputs as they are (bf16 weights are widened exactly)
  kBF16,  // inputs that are f32 are rounded to bf16 once before the product
};

}  // namespace msa::kernels
