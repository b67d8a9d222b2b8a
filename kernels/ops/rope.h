#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::kernels {

// Rotary position embedding in place, rotate-half layout: with angle a(t, i) = positions[t] *
// theta^(-2i/D),
//   x'[i]       = x[i] cos a - x[i + D/2] sin a
//   x'[i + D/2] = x[i + D/2] cos a + x[i] sin a        for i in [0, D/2).
// heads [T, H, D], D even; angles are computed in f64 and rounded once, positions in [0, 2^31).
absl::Status Rope(const OpContext& context, HostView<float, 3> heads,
                  absl::Span<const int32_t> positions, double theta);

}  // namespace msa::kernels
