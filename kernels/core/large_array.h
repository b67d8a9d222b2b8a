#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace msa::kernels {

struct FreeLargeArray {
  void operator()(std::byte* memory) const { std::free(memory); }
};

// Memory for large arrays: weights, routing keys, pages of keys and values. Aligned to 64 bytes,
// neither initialised nor touched.
using LargeArray = std::unique_ptr<std::byte[], FreeLargeArray>;

// `num_bytes` of it, on huge pages where it is large (16 MiB and more) and the system gives them: a
// pass then misses the TLB less, and the memory is there after a few hundred steps instead of a
// hundred thousand. Null when there is no memory.
LargeArray AllocateLargeArray(size_t num_bytes);

}  // namespace msa::kernels
