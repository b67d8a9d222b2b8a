#include "kernels/ops/sample.h"

#include <cmath>

#include "kernels/core/status_macros.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {

absl::StatusOr<int32_t> SampleToken(const OpContext& context, const SampleArgs& args) {
  constexpr char kOp[] = "SampleToken";
  MSA_RETURN_IF_ERROR(CheckCpuContext(kOp, context));
  if (args.logits.empty()) return ArgumentError(kOp, "there are no logits");
  const auto num_ids = static_cast<int64_t>(args.logits.size());
  for (size_t i = 0; i < args.allowed.size(); ++i) {
    const int32_t id = args.allowed[i];
    if (id < 0 || id >= num_ids || (i > 0 && id <= args.allowed[i - 1])) {
      return ArgumentError(kOp, absl::StrCat("allowed id ", id, " at ", i,
                                             " does not ascend within [0, ", num_ids, ")"));
    }
  }
  if (!(args.temperature >= 0) || !std::isfinite(args.temperature)) {
    return ArgumentError(kOp, absl::StrCat("temperature is ", args.temperature,
                                           "; it must be finite and at least 0"));
  }
  if (!(args.top_p > 0 && args.top_p <= 1)) {
    return ArgumentError(kOp, absl::StrCat("top_p is ", args.top_p, "; it must be in (0, 1]"));
  }
  if (!(args.uniform >= 0 && args.uniform < 1)) {
    return ArgumentError(kOp, absl::StrCat("uniform is ", args.uniform, "; it must be in [0, 1)"));
  }
  return cpu::SampleToken(args);
}

}  // namespace msa::kernels
