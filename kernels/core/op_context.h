#pragma once

#include "kernels/core/thread_pool.h"

namespace msa::kernels {

class Stream;

enum class DeviceKind { kCpu, kCuda };

// Where an op runs. Every op takes one as its first argument. Tensors are in the device's memory;
// what an op takes as a span is in host memory on either device. On the CPU an op is done when it
// returns; on a CUDA device its work is in the stream then, and its host arguments are read.
struct OpContext {
  DeviceKind device = DeviceKind::kCpu;
  ThreadPool* pool = nullptr;  // not owned; needed on the CPU
  Stream* stream = nullptr;    // likewise; needed on a CUDA device
};

// How products are computed. Accumulation is f32 in both; see docs/numerics.md.
enum class ComputeDType {
  kF32,   // inputs as they are (bf16 weights are widened exactly)
  kBF16,  // inputs that are f32 are rounded to bf16 once before the product
};

}  // namespace msa::kernels
