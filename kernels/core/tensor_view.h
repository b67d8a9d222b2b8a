#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>

#include "kernels/core/dtype.h"

namespace msa::kernels {

// A row-major, densely packed array of rank R that somebody else owns, in the memory of the device
// that an op's context names.
template <class T, int R>
struct TensorView {
  T* data = nullptr;
  std::array<int64_t, R> shape{};

  int64_t size() const {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1},
                           [](int64_t a, int64_t b) { return a * b; });
  }
  T* row(int64_t i) const { return data + i * (size() / (shape[0] == 0 ? 1 : shape[0])); }
};

// A weight matrix [rows, columns] (rows = outputs, as in a checkpoint) whose dtype is known at run
// time: bf16 or f32. Likewise in the memory of the context's device.
struct MatrixView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
};

}  // namespace msa::kernels
