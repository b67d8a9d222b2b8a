#include "kernels/core/large_array.h"

#include <sys/mman.h>

#include <algorithm>

namespace msa::kernels {
namespace {

constexpr size_t kAlignment = 64;  // a cache line, and the widest vector register
constexpr size_t kHugePageBytes = size_t{2} << 20;
// What is not touched of the last huge page that is touched is resident as well: an eighth at most.
constexpr size_t kLeastBytesForHugePages = 8 * kHugePageBytes;

}  // namespace

LargeArray AllocateLargeArray(size_t num_bytes) {
  const bool wants_huge_pages = num_bytes >= kLeastBytesForHugePages;
  const size_t alignment = wants_huge_pages ? kHugePageBytes : kAlignment;
  const size_t size = std::max(alignment, (num_bytes + alignment - 1) / alignment * alignment);
  void* const memory = std::aligned_alloc(alignment, size);
  if (memory != nullptr && wants_huge_pages)
    madvise(memory, size, MADV_HUGEPAGE);  // advice: nothing is lost without
  return LargeArray(static_cast<std::byte*>(memory));
}

}  // namespace msa::kernels
