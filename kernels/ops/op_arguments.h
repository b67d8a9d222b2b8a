#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/core/device.h"
#include "kernels/core/dtype.h"
#include "kernels/core/op_context.h"
#include "kernels/core/string_view_conversion.h"
#include "kernels/core/tensor_view.h"

// What the ops' argument checks have in common. Every message begins with the op's name.
namespace msa::kernels {

// OK if an op can run in `context`.
inline absl::Status CheckContext(const char* op, const OpContext& context) {
  if (context.device == DeviceKind::kCpu) {
    if (context.pool != nullptr) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(op, ": OpContext.pool is null"));
  }
  if (absl::Status available = CheckDeviceAvailable(context.device); !available.ok())
    return available;
  if (context.stream != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(op, ": OpContext.stream is null"));
}

// OK if an op that has a CPU path only can run in `context`.
inline absl::Status CheckCpuContext(const char* op, const OpContext& context) {
  if (context.device != DeviceKind::kCpu) {
    return absl::UnimplementedError(
        absl::StrCat(op, " on device cuda: this build has no CUDA path for it"));
  }
  return CheckContext(op, context);
}

template <class T, int R>
std::string ShapeOf(const TensorView<T, R>& view) {
  std::string text = "[";
  for (size_t i = 0; i < view.shape.size(); ++i)
    absl::StrAppend(&text, i == 0 ? "" : ", ", view.shape[i]);
  return text + "]";
}

inline absl::Status ArgumentError(const char* op, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(op, ": ", what));
}

// OK if no dimension is negative and data is there unless the view is empty.
template <class T, int R>
absl::Status CheckView(const char* op, const char* name, const TensorView<T, R>& view) {
  for (const int64_t extent : view.shape) {
    if (extent < 0) return ArgumentError(op, absl::StrCat(name, " has shape ", ShapeOf(view)));
  }
  if (view.data == nullptr && view.size() > 0) {
    return ArgumentError(op, absl::StrCat(name, " ", ShapeOf(view), " has no data"));
  }
  return absl::OkStatus();
}

// OK for the dtypes that are computed with; f16 is widened when a checkpoint is loaded.
inline absl::Status CheckStoredDType(const char* op, const char* name, DType dtype) {
  if (dtype == DType::kF32 || dtype == DType::kBF16) return absl::OkStatus();
  return ArgumentError(
      op, absl::StrCat(name, " is ", ToAbsl(NameOf(dtype)), "; f32 and bf16 are supported"));
}

// OK if offsets[0] == 0, they ascend, and the last one is `total`.
template <class Integer>
absl::Status CheckOffsets(const char* op, const char* name, absl::Span<const Integer> offsets,
                          int64_t total) {
  if (offsets.empty() || offsets[0] != 0)
    return ArgumentError(op, absl::StrCat(name, " must begin with 0"));
  for (size_t i = 1; i < offsets.size(); ++i) {
    if (offsets[i] < offsets[i - 1]) {
      return ArgumentError(
          op, absl::StrCat(name, " descends from ", offsets[i - 1], " to ", offsets[i]));
    }
  }
  if (static_cast<int64_t>(offsets.back()) != total) {
    return ArgumentError(op, absl::StrCat(name, " ends with ", offsets.back(),
                                          ", not with the number of rows ", total));
  }
  return absl::OkStatus();
}

}  // namespace msa::kernels
