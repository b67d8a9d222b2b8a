#include "kernels/ops/rope.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/stream.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/cuda_ops.h"
#include "kernels/ops/op_arguments.h"

namespace msa::kernels {

RopeTable::RopeTable(int64_t head_dim, double theta, int64_t max_positions)
    : head_dim_(head_dim),
      max_positions_(max_positions),
      frequencies_(static_cast<size_t>(std::max<int64_t>(0, head_dim / 2))) {
  MSA_CHECK(head_dim >= 2 && head_dim % 2 == 0, "heads have an even number of values");
  MSA_CHECK(theta > 0 && std::isfinite(theta), "theta is positive");
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    frequencies_[i] =
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  }
}

absl::Status RopeTable::Extend(const OpContext& context, int64_t num_positions) {
  const int64_t before = this->num_positions();
  if (num_positions <= before) return absl::OkStatus();
  int64_t position = before;
  const int64_t wanted = std::max(num_positions, std::min(2 * position, max_positions_));
  angles_.resize(static_cast<size_t>(wanted * head_dim_));
  for (; position < wanted; ++position) {
    float* const cosines = angles_.data() + position * head_dim_;
    float* const sines = cosines + head_dim_ / 2;
    for (size_t i = 0; i < frequencies_.size(); ++i) {
      const double angle = static_cast<double>(position) * frequencies_[i];
      cosines[i] = static_cast<float>(std::cos(angle));
      sines[i] = static_cast<float>(std::sin(angle));
    }
  }
  if (context.device == DeviceKind::kCpu) return absl::OkStatus();
  const size_t row_bytes = static_cast<size_t>(head_dim_) * sizeof(float);
  int64_t copied = before;
  if (const size_t bytes = static_cast<size_t>(wanted) * row_bytes; device_.bytes() < bytes) {
    const size_t most = static_cast<size_t>(max_positions_) * row_bytes;
    MSA_ASSIGN_OR_RETURN(device_,
                         DeviceBuffer::Allocate(std::max(bytes, most), "angles of positions"));
    copied = 0;
  }
  return context.stream->CopyFromHost(row(copied), static_cast<size_t>(wanted - copied) * row_bytes,
                                      static_cast<float*>(device_.data()) + copied * head_dim_);
}

absl::Status Rope(const OpContext& context, TensorView<float, 3> heads,
                  absl::Span<const int32_t> positions, const RopeTable& table) {
  constexpr char kOp[] = "Rope";
  MSA_RETURN_IF_ERROR(CheckContext(kOp, context));
  MSA_RETURN_IF_ERROR(CheckView(kOp, "heads", heads));
  if (static_cast<int64_t>(positions.size()) != heads.shape[0] ||
      heads.shape[2] != table.head_dim()) {
    return ArgumentError(kOp, absl::StrCat(positions.size(), " positions and heads ",
                                           ShapeOf(heads), ", which must be [T, H, D] with D = ",
                                           table.head_dim(), " of the table"));
  }
  for (const int32_t position : positions) {
    if (position < 0 || position >= table.num_positions()) {
      return ArgumentError(kOp, absl::StrCat("position ", position, " is not in [0, ",
                                             table.num_positions(), ") of the table"));
    }
  }
  if (context.device == DeviceKind::kCpu) {
    cpu::Rope(*context.pool, heads, positions, table);
  } else if constexpr (kBuiltWithCuda) {
    MSA_ASSIGN_OR_RETURN(const int32_t* const uploaded, context.stream->Upload(positions));
    return CudaStatus(cuda::Rope(context.stream->handle(), heads, uploaded, table.device_angles()),
                      kOp);
  }
  return absl::OkStatus();
}

}  // namespace msa::kernels
