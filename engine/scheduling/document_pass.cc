#include "engine/scheduling/document_pass.h"

#include <array>
#include <cstring>

#include "kernels/core/status_macros.h"
#include "kernels/ops/causal_attention.h"
#include "kernels/ops/pool_memory.h"

namespace msa::engine {
namespace {

using kernels::TensorView;

// One row of `width` numbers into the bank's dtype.
void StoreRow(const float* row, int64_t width, kernels::DType dtype, std::byte* out) {
  if (dtype == kernels::DType::kF32) {
    std::memcpy(out, row, static_cast<size_t>(width) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < width; ++i) {
    const kernels::BF16 value = kernels::ToBF16(row[i]);
    std::memcpy(out + i * 2, &value, 2);
  }
}

}  // namespace

DocumentPass::DocumentPass(Transformer* transformer, kernels::DType bank_dtype)
    : config_(&transformer->config()),
      transformer_(transformer),
      bank_dtype_(bank_dtype),
      attention_rows_(static_cast<size_t>(Transformer::kMaxRows * config_->query_width())) {}

absl::Status DocumentPass::Run(const Slice& slice) {
  return slice.at.phase == LayerPhase::kProject ? Project(slice.encode, slice)
                                                : Attend(slice.encode, slice);
}

absl::Status DocumentPass::Project(EncodeJob* job, const Slice& slice) {
  const ModelConfig& c = *config_;
  const int64_t rows = slice.row_end - slice.at.row, first = slice.at.row, layer = slice.at.layer;
  float* hidden = job->hidden.data() + first * c.hidden_size;
  if (layer == 0) {
    MSA_RETURN_IF_ERROR(
        transformer_->Embed(absl::MakeSpan(job->token_ids)
                                .subspan(static_cast<size_t>(first), static_cast<size_t>(rows)),
                            {hidden, {rows, c.hidden_size}}));
  }
  const int msa_index = c.MsaIndex(layer);
  const std::array<int64_t, 3> kv_shape{rows, c.num_kv_heads, c.head_dim};
  const bool last_layer = layer == c.num_layers - 1;
  const bool own_router_key = msa_index >= 0 && c.decouple_router;
  const Projections out{
      .query = {last_layer ? nullptr : job->query.data() + first * c.query_width(),
                {rows, c.num_query_heads, c.head_dim}},
      .key = {job->key.data() + first * c.kv_width(), kv_shape},
      .value = {job->value.data() + first * c.kv_width(), kv_shape},
      .router_key = {own_router_key ? job->router_key.data() + first * c.kv_width() : nullptr,
                     kv_shape}};
  const absl::Span<const int32_t> positions =
      absl::MakeSpan(job->positions).subspan(static_cast<size_t>(first), static_cast<size_t>(rows));
  MSA_RETURN_IF_ERROR(
      transformer_->Project(layer, {hidden, {rows, c.hidden_size}}, positions, out));
  if (msa_index >= 0 && slice.row_end == job->num_rows()) return Pool(job, msa_index);
  return absl::OkStatus();
}

absl::Status DocumentPass::Attend(EncodeJob* job, const Slice& slice) {
  const ModelConfig& c = *config_;
  const int64_t rows = slice.row_end - slice.at.row, first = slice.at.row, total = job->num_rows();
  MSA_RETURN_IF_ERROR(kernels::CausalAttention(
      transformer_->context(),
      {.query = {job->query.data(), {total, c.num_query_heads, c.head_dim}},
       .key = {job->key.data(), {total, c.num_kv_heads, c.head_dim}},
       .value = {job->value.data(), {total, c.num_kv_heads, c.head_dim}},
       .doc_offsets = job->doc_offsets,
       .row_begin = first,
       .row_end = slice.row_end,
       .scale = c.attention_scale(),
       .output = {attention_rows_.data(), {rows, c.num_query_heads, c.head_dim}}}));
  return transformer_->Mix(slice.at.layer, {attention_rows_.data(), {rows, c.query_width()}},
                           {job->hidden.data() + first * c.hidden_size, {rows, c.hidden_size}});
}

// Pools a finished MSA layer into the documents' memory.
absl::Status DocumentPass::Pool(EncodeJob* job, int msa_index) {
  const ModelConfig& c = *config_;
  int64_t num_chunks = 0;
  for (const EncodedDocument& document : job->documents) num_chunks += document.num_chunks;
  pooled_.resize(static_cast<size_t>(num_chunks * c.kv_width()));
  const size_t row_bytes = static_cast<size_t>(c.kv_width()) * kernels::SizeOf(bank_dtype_);
  const auto layer = static_cast<size_t>(msa_index);
  enum Part { kKey, kValue, kRouterKey };
  for (const Part part : {kKey, kValue, kRouterKey}) {
    const std::vector<float>& rows = part == kValue                            ? job->value
                                     : part == kRouterKey && c.decouple_router ? job->router_key
                                                                               : job->key;
    MSA_RETURN_IF_ERROR(kernels::PoolMemory(
        transformer_->context(),
        {.rows = {rows.data(), {job->num_rows(), c.num_kv_heads, c.head_dim}},
         .doc_offsets = job->doc_offsets,
         .tokens_per_chunk = c.tokens_per_chunk,
         .normalize = part == kRouterKey && c.cosine,
         .output = {pooled_.data(), {num_chunks, c.num_kv_heads, c.head_dim}}}));
    const float* from = pooled_.data();
    for (EncodedDocument& document : job->documents) {
      const auto chunks = static_cast<size_t>(document.num_chunks);
      for (size_t chunk = 0; chunk < chunks; ++chunk, from += c.kv_width()) {
        const size_t at = layer * chunks + chunk;
        std::byte* to = part == kRouterKey
                            ? document.router_keys.data() + at * row_bytes
                            : document.content.data() + (2 * at + (part == kValue)) * row_bytes;
        StoreRow(from, c.kv_width(), bank_dtype_, to);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
