#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

#include "kernels/core/check.h"

namespace msa::kernels {

// Scratch memory of one kernel: aligned to a cache line, not initialised, grows and never shrinks.
// Kernels keep one per thread; the sizes they ask for are bounded by the model's geometry, never by
// the bank.
class AlignedBuffer {
 public:
  // At least `count` values of T; what was in the buffer is gone if it had to grow.
  template <class T>
  T* Get(size_t count) {
    const size_t bytes = (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    if (bytes > capacity_) {
      data_.reset();
      capacity_ = 0;
      data_.reset(std::aligned_alloc(kAlignment, bytes));
      MSA_CHECK(data_ != nullptr, "out of memory for kernel scratch");
      capacity_ = bytes;
    }
    return static_cast<T*>(data_.get());
  }

 private:
  static constexpr size_t kAlignment = 64;
  struct Free {
    void operator()(void* data) const { std::free(data); }
  };
  std::unique_ptr<void, Free> data_;
  size_t capacity_ = 0;
};

}  // namespace msa::kernels
