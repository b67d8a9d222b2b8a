#include "engine/scheduling/sequence_pass.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>

#include "absl/time/clock.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/ops/attend.h"
#include "kernels/ops/gather_memory.h"

namespace msa::engine {

using kernels::TensorView;

SequencePass::SequencePass(const TemplatePrefix* prefix, Transformer* transformer, KvPagePool* pool,
                           ForwardProbe* probe)
    : config_(&transformer->config()),
      prefix_(prefix),
      transformer_(transformer),
      pool_(pool),
      probe_(probe) {
  const auto allocate = [](std::vector<float>* rows, int64_t width) {
    rows->resize(static_cast<size_t>(Transformer::kMaxRows * width));
  };
  allocate(&query_rows_, config_->query_width());
  allocate(&key_rows_, config_->kv_width());
  allocate(&value_rows_, config_->kv_width());
  allocate(&attention_rows_, config_->query_width());
  allocate(&router_rows_, transformer_->router_query_width());
  allocate(&hidden_rows_, config_->hidden_size);
}

int64_t SequencePass::scratch_bytes() const {
  const size_t floats = query_rows_.size() + key_rows_.size() + value_rows_.size() +
                        attention_rows_.size() + router_rows_.size() + hidden_rows_.size() +
                        logits_.size();
  return static_cast<int64_t>(floats * sizeof(float));
}

absl::Status SequencePass::RunPrompt(const Slice& slice) {
  Query* query = slice.query;
  if (slice.at.phase == LayerPhase::kProject) {
    MSA_RETURN_IF_ERROR(ProjectPrompt(query, slice));
  } else {
    MSA_RETURN_IF_ERROR(AttendPrompt(query, slice));
  }
  if (!slice.completes_job) return absl::OkStatus();
  PromptJob& job = query->job;
  query->num_local_rows = job.first_local_row + job.num_rows();
  if (job.routes) {
    std::set<uint32_t> selected;
    for (const Selection& selection : query->selections) {
      for (const kernels::ScoredDocument& document : selection.documents)
        selected.insert(document.number);
    }
    query->interleave->OnSelected(std::vector<uint32_t>(selected.begin(), selected.end()));
  }
  const float* last = job.hidden.data() + (job.num_rows() - 1) * config_->hidden_size;
  return ChooseTokens({&query, 1}, {last, {1, config_->hidden_size}});
}

absl::Status SequencePass::ProjectPrompt(Query* query, const Slice& slice) {
  const ModelConfig& c = *config_;
  PromptJob& job = query->job;
  const int64_t rows = slice.row_end - slice.at.row, first = slice.at.row, layer = slice.at.layer;
  float* hidden = job.hidden.data() + first * c.hidden_size;
  if (layer == 0) {
    if (probe_ != nullptr && first == 0 && job.routes) {
      probe_->OnPrompt(job.token_ids, job.positions, job.routed_rows);
    }
    MSA_RETURN_IF_ERROR(
        transformer_->Embed(absl::MakeSpan(job.token_ids)
                                .subspan(static_cast<size_t>(first), static_cast<size_t>(rows)),
                            {hidden, {rows, c.hidden_size}}));
  }
  const int msa_index = c.MsaIndex(layer);
  const bool routes = job.routes && msa_index >= 0;
  if (job.keeps_rows && msa_index == 0 && slice.row_end == job.num_rows()) KeepRows(query);
  const int64_t width = transformer_->router_query_width();
  const Projections out{
      .query = {job.query.data() + first * c.query_width(), {rows, c.num_query_heads, c.head_dim}},
      .key = {key_rows_.data(), {rows, c.num_kv_heads, c.head_dim}},
      .value = {value_rows_.data(), {rows, c.num_kv_heads, c.head_dim}},
      .router_query = {routes ? router_rows_.data() : nullptr, {rows, width}}};
  const absl::Span<const int32_t> positions =
      absl::MakeSpan(job.positions).subspan(static_cast<size_t>(first), static_cast<size_t>(rows));
  MSA_RETURN_IF_ERROR(
      transformer_->Project(layer, {hidden, {rows, c.hidden_size}}, positions, out));

  KvRows& local = query->kv.local[static_cast<size_t>(layer)];
  local.Grow(pool_, rows);
  MSA_RETURN_IF_ERROR(
      kernels::StoreLocal(transformer_->context(), {.key = {key_rows_.data(), out.key.shape},
                                                    .value = {value_rows_.data(), out.value.shape},
                                                    .shape = pool_->shape(),
                                                    .pages = local.pages(),
                                                    .first_row = job.first_local_row + first}));
  if (!routes) return absl::OkStatus();
  const auto begin = std::lower_bound(job.routed_rows.begin(), job.routed_rows.end(), first);
  for (auto row = begin; row != job.routed_rows.end() && *row < slice.row_end; ++row) {
    std::memcpy(job.router_query.data() + (row - job.routed_rows.begin()) * width,
                router_rows_.data() + (*row - first) * width,
                static_cast<size_t>(width) * sizeof(float));
  }
  if (probe_ != nullptr && slice.row_end == job.num_rows()) {
    probe_->OnRouterQuery(msa_index, {job.router_query.data(),
                                      {static_cast<int64_t>(job.routed_rows.size()), width}});
  }
  return absl::OkStatus();
}

void SequencePass::KeepRows(Query* query) const {
  const auto num_layers = static_cast<size_t>(config_->msa_layers.front());
  KeptRows& kept = query->kept;
  kept.token_ids = query->job.token_ids;
  kept.hidden = query->job.hidden;
  kept.pages.resize(num_layers);
  const auto page_bytes = static_cast<size_t>(pool_->shape().bytes());
  for (size_t layer = 0; layer < num_layers; ++layer) {
    const std::vector<void*>& pages = query->kv.local[layer].pages();
    kept.pages[layer].resize(pages.size() * page_bytes);
    for (size_t i = 0; i < pages.size(); ++i) {
      std::memcpy(kept.pages[layer].data() + i * page_bytes, pages[i], page_bytes);
    }
  }
}

absl::Status SequencePass::AttendPrompt(Query* query, const Slice& slice) {
  const ModelConfig& c = *config_;
  PromptJob& job = query->job;
  const int64_t rows = slice.row_end - slice.at.row, first = slice.at.row;
  const auto layer = static_cast<size_t>(slice.at.layer);
  std::vector<kernels::KvSpan> shared = prefix_->spans[layer], local;
  if (const int msa_index = c.MsaIndex(slice.at.layer); msa_index >= 0) {
    query->kv.memory[static_cast<size_t>(msa_index)].AppendSpans(pool_->shape(), &shared);
  }
  query->kv.local[layer].AppendSpans(pool_->shape(), &local);
  const kernels::AttendGroup group{
      .row_begin = 0,
      .row_end = rows,
      .shared_spans = shared,
      .local_spans = local,
      .visible = absl::MakeSpan(job.visible)
                     .subspan(static_cast<size_t>(first), static_cast<size_t>(rows))};
  MSA_RETURN_IF_ERROR(kernels::Attend(
      transformer_->context(),
      {.query = {job.query.data() + first * c.query_width(), {rows, c.num_query_heads, c.head_dim}},
       .shape = pool_->shape(),
       .groups = {&group, 1},
       .scale = c.attention_scale(),
       .output = {attention_rows_.data(), {rows, c.num_query_heads, c.head_dim}}}));
  const TensorView<float, 2> hidden{job.hidden.data() + first * c.hidden_size,
                                    {rows, c.hidden_size}};
  MSA_RETURN_IF_ERROR(
      transformer_->Mix(slice.at.layer, {attention_rows_.data(), {rows, c.query_width()}}, hidden));
  if (probe_ != nullptr)
    probe_->OnHidden(slice.at.layer, job.first_local_row + first, {hidden.data, hidden.shape});
  return absl::OkStatus();
}

absl::Status SequencePass::Decode(const std::vector<Query*>& queries) {
  const ModelConfig& c = *config_;
  const absl::Time start = absl::Now();
  std::vector<Query*>& going = batch_.queries;
  going.clear();
  for (Query* query : queries) {
    if (query->status.ok()) going.push_back(query);
  }
  const auto rows = static_cast<int64_t>(going.size());
  if (rows == 0) return absl::OkStatus();
  MSA_CHECK(rows <= Transformer::kMaxRows, "a decode batch fits the scratch");
  batch_.token_ids.clear();
  batch_.positions.clear();
  batch_.visible.clear();
  for (Query* query : going) {
    batch_.token_ids.push_back(query->pending_token);
    // Rows follow the prompt, whose first row has the position after the template head and k.
    batch_.positions.push_back(
        static_cast<int32_t>(query->num_local_rows + prefix_->num_rows + c.doc_top_k));
    batch_.visible.push_back(static_cast<int32_t>(query->num_local_rows + 1));
  }
  const TensorView<float, 2> hidden{hidden_rows_.data(), {rows, c.hidden_size}};
  const std::array<int64_t, 3> query_shape{rows, c.num_query_heads, c.head_dim};
  const std::array<int64_t, 3> kv_shape{rows, c.num_kv_heads, c.head_dim};
  MSA_RETURN_IF_ERROR(transformer_->Embed(batch_.token_ids, hidden));
  std::vector<std::vector<kernels::KvSpan>>& shared = batch_.shared_spans;
  std::vector<std::vector<kernels::KvSpan>>& local = batch_.local_spans;
  shared.resize(std::max(shared.size(), going.size()));
  local.resize(std::max(local.size(), going.size()));
  batch_.groups.resize(going.size());
  for (int64_t layer = 0; layer < c.num_layers; ++layer) {
    MSA_RETURN_IF_ERROR(transformer_->Project(layer, {hidden.data, hidden.shape}, batch_.positions,
                                              {.query = {query_rows_.data(), query_shape},
                                               .key = {key_rows_.data(), kv_shape},
                                               .value = {value_rows_.data(), kv_shape}}));
    const int msa_index = c.MsaIndex(layer);
    for (size_t i = 0; i < going.size(); ++i) {
      SequenceKv& kv = going[i]->kv;
      KvRows& own = kv.local[static_cast<size_t>(layer)];
      own.Grow(pool_, 1);
      const std::array<int64_t, 3> one{1, c.num_kv_heads, c.head_dim};
      const int64_t offset = static_cast<int64_t>(i) * c.kv_width();
      MSA_RETURN_IF_ERROR(
          kernels::StoreLocal(transformer_->context(), {.key = {key_rows_.data() + offset, one},
                                                        .value = {value_rows_.data() + offset, one},
                                                        .shape = pool_->shape(),
                                                        .pages = own.pages(),
                                                        .first_row = going[i]->num_local_rows}));
      shared[i] = prefix_->spans[static_cast<size_t>(layer)];
      if (msa_index >= 0)
        kv.memory[static_cast<size_t>(msa_index)].AppendSpans(pool_->shape(), &shared[i]);
      local[i].clear();
      own.AppendSpans(pool_->shape(), &local[i]);
      const auto row = static_cast<int64_t>(i);
      batch_.groups[i] = {row, row + 1, shared[i], local[i],
                          absl::MakeSpan(batch_.visible).subspan(i, 1)};
    }
    MSA_RETURN_IF_ERROR(kernels::Attend(transformer_->context(),
                                        {.query = {query_rows_.data(), query_shape},
                                         .shape = pool_->shape(),
                                         .groups = batch_.groups,
                                         .scale = c.attention_scale(),
                                         .output = {attention_rows_.data(), query_shape}}));
    MSA_RETURN_IF_ERROR(
        transformer_->Mix(layer, {attention_rows_.data(), {rows, c.query_width()}}, hidden));
    if (probe_ != nullptr && rows == 1) {
      probe_->OnHidden(layer, going[0]->num_local_rows, {hidden.data, hidden.shape});
    }
  }
  for (Query* query : going) ++query->num_local_rows;
  MSA_RETURN_IF_ERROR(ChooseTokens(going, {hidden.data, hidden.shape}));
  for (Query* query : going) query->timings.decode += absl::Now() - start;
  return absl::OkStatus();
}

// The next token of every sequence from its last row.
absl::Status SequencePass::ChooseTokens(absl::Span<Query* const> queries,
                                        TensorView<const float, 2> hidden) {
  const int64_t vocab = config_->vocab_size;
  logits_.resize(std::max(logits_.size(), queries.size() * static_cast<size_t>(vocab)));
  MSA_RETURN_IF_ERROR(transformer_->Logits(hidden, {logits_.data(), {hidden.shape[0], vocab}}));
  for (size_t i = 0; i < queries.size(); ++i) {
    const absl::Span<const float> logits(logits_.data() + i * static_cast<size_t>(vocab),
                                         static_cast<size_t>(vocab));
    if (probe_ != nullptr) probe_->OnLogits({logits.data(), {vocab}});
    absl::StatusOr<int32_t> token = queries[i]->token_source->Choose(
        transformer_->context(), logits, queries[i]->interleave->AllowedTokens());
    if (token.ok()) {
      queries[i]->pending_token = *token;
    } else {
      queries[i]->status = token.status();
    }
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
