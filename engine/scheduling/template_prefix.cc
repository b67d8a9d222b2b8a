#include "engine/scheduling/template_prefix.h"

#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/ops/causal_attention.h"
#include "kernels/ops/gather_memory.h"

namespace msa::engine {
namespace {

constexpr int64_t kRowsPerPage = 64;

}  // namespace

kernels::KvPageShape PageShape(const ModelConfig& config, kernels::DType dtype) {
  return {config.num_kv_heads, kRowsPerPage, config.head_dim, dtype};
}

absl::StatusOr<TemplatePrefix> ComputeTemplatePrefix(Transformer* transformer,
                                                     absl::Span<const int32_t> head_ids,
                                                     kernels::DType dtype) {
  const ModelConfig& c = transformer->config();
  const auto rows = static_cast<int64_t>(head_ids.size());
  if (rows > Transformer::kMaxRows) {
    return absl::InvalidArgumentError(
        "template_head has more tokens than the largest supported, 256");
  }
  TemplatePrefix prefix{.shape = PageShape(c, dtype), .num_rows = rows, .pages = {}, .spans = {}};
  std::vector<float> hidden(static_cast<size_t>(rows * c.hidden_size));
  std::vector<float> query(static_cast<size_t>(rows * c.query_width())), attention(query.size());
  std::vector<float> key(static_cast<size_t>(rows * c.kv_width())), value(key.size());
  std::vector<int32_t> positions;
  for (int32_t i = 0; i < rows; ++i) positions.push_back(i);
  const std::vector<int64_t> offsets{0, rows};
  const kernels::TensorView<float, 2> x{hidden.data(), {rows, c.hidden_size}};
  MSA_RETURN_IF_ERROR(transformer->Embed(head_ids, x));
  const auto page_bytes = static_cast<size_t>(prefix.shape.bytes());
  const int64_t num_pages = (rows + kRowsPerPage - 1) / kRowsPerPage;
  for (int64_t layer = 0; layer < c.num_layers; ++layer) {
    const Projections out{.query = {query.data(), {rows, c.num_query_heads, c.head_dim}},
                          .key = {key.data(), {rows, c.num_kv_heads, c.head_dim}},
                          .value = {value.data(), {rows, c.num_kv_heads, c.head_dim}}};
    MSA_RETURN_IF_ERROR(transformer->Project(layer, {x.data, x.shape}, positions, out));
    MSA_RETURN_IF_ERROR(kernels::CausalAttention(transformer->context(),
                                                 {.query = {query.data(), out.query.shape},
                                                  .key = {key.data(), out.key.shape},
                                                  .value = {value.data(), out.value.shape},
                                                  .doc_offsets = offsets,
                                                  .row_begin = 0,
                                                  .row_end = rows,
                                                  .scale = c.attention_scale(),
                                                  .output = {attention.data(), out.query.shape}}));
    std::vector<std::byte>& bytes =
        prefix.pages.emplace_back(static_cast<size_t>(num_pages) * page_bytes);
    std::vector<void*> pages;
    std::vector<kernels::KvSpan>& spans = prefix.spans.emplace_back();
    for (int64_t i = 0; i < num_pages; ++i) {
      pages.push_back(bytes.data() + static_cast<size_t>(i) * page_bytes);
      spans.push_back(
          {pages.back(), static_cast<int32_t>(std::min(kRowsPerPage, rows - i * kRowsPerPage))});
    }
    MSA_RETURN_IF_ERROR(
        kernels::StoreLocal(transformer->context(), {.key = {key.data(), out.key.shape},
                                                     .value = {value.data(), out.value.shape},
                                                     .shape = prefix.shape,
                                                     .pages = pages}));
    MSA_RETURN_IF_ERROR(transformer->Mix(layer, {attention.data(), {rows, c.query_width()}}, x));
  }
  return prefix;
}

}  // namespace msa::engine
