#include "kernels/ops/matmul.h"

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {
namespace {

constexpr char kOp[] = "MatMul";

absl::Status CheckProduct(TensorView<const float, 2> input, const MatMulProduct& product) {
  MSA_RETURN_IF_ERROR(CheckView(kOp, "output", product.output));
  MSA_RETURN_IF_ERROR(CheckStoredDType(kOp, "weight", product.weight.dtype));
  const auto [m, k] = input.shape;
  if (product.weight.rows < 0 || k < 1 || product.weight.columns != k ||
      product.output.shape[0] != m || product.output.shape[1] != product.weight.rows) {
    return ArgumentError(
        kOp, absl::StrCat("input ", ShapeOf(input), ", weight [", product.weight.rows, ", ",
                          product.weight.columns, "] and output ", ShapeOf(product.output),
                          " are not [M, K], [N, K] and [M, N] with K >= 1"));
  }
  if (m > 0 && product.weight.rows > 0 && product.weight.data == nullptr)
    return ArgumentError(kOp, "weight has no data");
  return absl::OkStatus();
}

}  // namespace

absl::Status MatMulEach(const OpContext& context, TensorView<const float, 2> input,
                        absl::Span<const MatMulProduct> products, ComputeDType compute) {
  MSA_RETURN_IF_ERROR(CheckCpuContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "input", input));
  for (const MatMulProduct& product : products) MSA_RETURN_IF_ERROR(CheckProduct(input, product));
  if (input.shape[0] == 0) return absl::OkStatus();
  // Together: as many as are taken at a time, of weights in the same dtype.
  while (!products.empty()) {
    const DType dtype = products[0].weight.dtype;
    const auto end =
        std::find_if(products.begin(), products.end(),
                     [&](const MatMulProduct& product) { return product.weight.dtype != dtype; });
    const size_t count = std::min(cpu::kMostProducts, static_cast<size_t>(end - products.begin()));
    cpu::MatMulEach(*context.pool, input, products.first(count), compute);
    products.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status MatMul(const OpContext& context, const MatMulArgs& args) {
  const MatMulProduct product = {args.weight, args.output, args.add_to_output};
  return MatMulEach(context, args.input, {&product, 1}, args.compute);
}

}  // namespace msa::kernels
