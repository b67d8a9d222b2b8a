#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/core/device.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::kernels {

// Cosines and sines of a(p, i) = p * theta^(-2i/D) for positions p in [0, num_positions()) and i in
// [0, D/2), computed in f64 and rounded once. Made once and read by every layer. Extending needs
// the table for itself; reading is thread-safe.
class RopeTable {
 public:
  // D = head_dim, even and at least 2; theta > 0 and finite. Not more than `max_positions` are made
  // ahead of being asked for.
  RopeTable(int64_t head_dim, double theta, int64_t max_positions);

  int64_t head_dim() const { return head_dim_; }
  int64_t num_positions() const { return static_cast<int64_t>(angles_.size()) / head_dim_; }
  // In host memory and on the device.
  int64_t bytes() const {
    return static_cast<int64_t>(angles_.capacity() * sizeof(float) + device_.bytes());
  }

  // At least `num_positions` positions; grows by doubling up to max_positions, never shrinks. For a
  // CUDA device they are copied there, into memory for max_positions, behind what its stream has.
  // RESOURCE_EXHAUSTED and INTERNAL as DeviceBuffer and Stream; the table is of no more use then.
  absl::Status Extend(const OpContext& context, int64_t num_positions);

  // [D]: the position's D/2 cosines, then its sines.
  const float* row(int64_t position) const { return angles_.data() + position * head_dim_; }
  // The same rows in the memory of the device that the table was extended for.
  const float* device_angles() const { return static_cast<const float*>(device_.data()); }

 private:
  int64_t head_dim_;
  int64_t max_positions_;
  std::vector<double> frequencies_;  // [D/2]
  std::vector<float> angles_;        // [num_positions, D]
  DeviceBuffer device_;              // likewise
};

// Rotary position embedding in place, rotate-half layout: with angle a(t, i) of position
// positions[t],
//   x'[i]       = x[i] cos a - x[i + D/2] sin a
//   x'[i + D/2] = x[i + D/2] cos a + x[i] sin a        for i in [0, D/2).
// heads [T, H, D]; `table` is of the same D and has the positions: INVALID_ARGUMENT otherwise.
absl::Status Rope(const OpContext& context, TensorView<float, 3> heads,
                  absl::Span<const int32_t> positions, const RopeTable& table);

}  // namespace msa::kernels
