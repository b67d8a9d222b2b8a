#include <algorithm>
#include <cmath>

#include "kernels/ops/cpu_dispatch.h"
#include "kernels/ops/cpu_ops.h"
#include "kernels/ops/row_ranges.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/router_query_cpu.cc"
#include "hwy/foreach_target.h"

// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace msa::kernels::HWY_NAMESPACE {
namespace {

#include "kernels/ops/sum_of_squares-inl.h"

// What a head is divided by: max(|head|_2, 1e-12).
float HeadLength(const float* head, size_t head_dim) {
  return std::max(std::sqrt(SumOfSquares(head, head_dim)), 1e-12f);
}

}  // namespace
}  // namespace msa::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::kernels::cpu {

void RouterQuery(ThreadPool& pool, const RouterQueryArgs& args) {
  const auto head_length = SelectTarget(&N_AVX2::HeadLength, &N_AVX3::HeadLength);
  const auto [num_rows, num_heads, head_dim] = args.heads.shape;
  const int64_t heads_per_group = num_heads / args.num_kv_heads;
  ParallelForRows(
      pool, num_rows, num_heads * head_dim,
      [&, num_heads = num_heads, head_dim = head_dim](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const float* head = args.heads.data + t * num_heads * head_dim;
          float* const row = args.output.data + t * args.output.shape[1];
          for (int64_t h = 0; h < num_heads; ++h, head += head_dim) {
            const float length =
                args.normalize ? head_length(head, static_cast<size_t>(head_dim)) : 1.0f;
            float* const target = row + (args.sum_groups ? h / heads_per_group : h) * head_dim;
            const bool first = !args.sum_groups || h % heads_per_group == 0;
            for (int64_t i = 0; i < head_dim; ++i)
              target[i] = (first ? 0.0f : target[i]) + head[i] / length;
          }
          if (!args.sum_groups) continue;
          for (int64_t i = 0; i < args.output.shape[1]; ++i)
            row[i] /= static_cast<float>(num_heads);
        }
      });
}

}  // namespace msa::kernels::cpu
#endif
