#pragma once

#include "kernels/core/cpu_features.h"

namespace msa::kernels {

// Picks the function compiled for the level in use; both Highway targets are named at the call, as
// in
//   SelectTarget(&N_AVX2::Rows, &N_AVX3::Rows)(...)
// The levels avx512-bf16 and amx differ in products only (dot_product.h).
template <class Function>
Function* SelectTarget(Function* avx2, Function* avx512) {
  return ActiveCpuLevel() == CpuLevel::kAvx2 ? avx2 : avx512;
}

}  // namespace msa::kernels
