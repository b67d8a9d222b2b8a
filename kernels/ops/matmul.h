#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::kernels {

struct MatMulArgs {
  TensorView<const float, 2> input;  // [M, K]
  MatrixView weight;                 // [N, K], bf16 or f32
  TensorView<float, 2> output;       // [M, N]
  bool add_to_output = false;        // output += product, instead of output = product
  ComputeDType compute = ComputeDType::kF32;
};

// output[m, n] = sum_k input[m, k] * weight[n, k], accumulated in f32.
//
// Every output element is accumulated over K in one order with one multiply-add instruction per
// (compute, weight dtype) and instruction set, whatever M, N, the thread count or the tile it falls
// in: row m of a batch is bitwise equal to the same row alone. kBF16 rounds the input to bf16 once,
// also where weights are f32 (the products are then f32 multiply-adds of the rounded values). M = 0
// is a no-op. INVALID_ARGUMENT when shapes do not fit.
absl::Status MatMul(const OpContext& context, const MatMulArgs& args);

// One of several products of the same input; as in MatMulArgs.
struct MatMulProduct {
  MatrixView weight;
  TensorView<float, 2> output;
  bool add_to_output = false;
};

// What MatMul gives for each of the products, bit for bit, in less time: the input is prepared once
// and the threads are woken once. Outputs do not overlap.
absl::Status MatMulEach(const OpContext& context, TensorView<const float, 2> input,
                        absl::Span<const MatMulProduct> products, ComputeDType compute);

}  // namespace msa::kernels
