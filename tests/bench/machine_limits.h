#pragma once

#include <cstddef>

#include "kernels/core/thread_pool.h"

namespace msa::bench {

// Seconds on the wall, or processor time of the process per thread.
struct Clock {
  bool processor_time = false;
  int threads = 1;
  double Now() const;
};

// What this machine can do with all threads of a pool, measured now, on the level in use.
struct MachineLimits {
  double read_bytes_per_second = 0;       // a buffer far larger than the caches, read once
  double f32_operations_per_second = 0;   // multiply-adds on registers, two operations each
  double bf16_operations_per_second = 0;  // tdpbf16ps or vdpbf16ps on registers; below, as f32
};
// `buffer`, which somebody has written, is what is read.
MachineLimits MeasureLimits(kernels::ThreadPool& pool, const Clock& clock, const void* buffer,
                            size_t buffer_bytes);

}  // namespace msa::bench
