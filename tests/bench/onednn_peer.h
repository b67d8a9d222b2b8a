#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/core/dtype.h"

namespace msa::bench {

// MatMul by oneDNN, the peer of the same run: weights packed its own way beforehand, input already
// in the compute dtype. Its threads are OpenMP's.
class OneDnnMatMul {
 public:
  // Null where this program was built without oneDNN, or oneDNN cannot multiply bf16 on this CPU.
  // input [m, k]; weights: `num_copies` matrices [n, k], used in turns so that they are cold.
  static std::unique_ptr<OneDnnMatMul> Create(int64_t m, int64_t n, int64_t k, bool bf16,
                                              const std::vector<float>& input,
                                              const kernels::BF16* weights, size_t num_copies);
  ~OneDnnMatMul();

  void Run();
  const std::vector<float>& output() const;  // [m, n], of the first matrix after the first Run

 private:
  struct Impl;
  explicit OneDnnMatMul(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace msa::bench
