#include "engine/routing/router.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "absl/time/clock.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/ops/gather_memory.h"
#include "kernels/ops/merge_top_k.h"
#include "kernels/ops/score_chunks.h"

namespace msa::engine {
namespace {

template <class T>
absl::Span<const std::byte> AsBytes(const std::vector<T>& values) {
  return {reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace

Router::Router(const ModelConfig* config, int64_t width, kernels::OpContext context,
               kernels::ComputeDType compute, kernels::DType bank_dtype, KvPagePool* pool,
               Communicator* communicator)
    : config_(config),
      width_(width),
      context_(context),
      compute_(compute),
      bank_dtype_(bank_dtype),
      pool_(pool),
      communicator_(communicator) {}

int64_t Router::scratch_bytes() const {
  size_t bytes =
      (own_queries_.capacity() + batch_.capacity()) * sizeof(float) + content_.capacity();
  for (const std::vector<float>& queries : all_queries_)
    bytes += queries.capacity() * sizeof(float);
  return static_cast<int64_t>(bytes);
}

absl::Status Router::Route(absl::Span<const RoutePoint> points, RouteStats* stats) {
  const absl::Time start = absl::Now();
  std::vector<const float*> queries;
  MSA_RETURN_IF_ERROR(GatherQueries(points, &queries));
  std::vector<Candidate> candidates;
  MSA_RETURN_IF_ERROR(ScoreShards(points, queries, &candidates, stats));
  std::vector<absl::Span<const std::byte>> lists;
  MSA_RETURN_IF_ERROR(communicator_->AllGather(AsBytes(candidates), &lists));
  Merge(points, lists);
  const absl::Duration scored = absl::Now() - start;
  for (const RoutePoint& point : points) {
    if (point.rank != communicator_->rank()) continue;
    *point.score_time += scored;
    if (point.status->ok() && point.memory != nullptr) *point.status = Fetch(point, stats);
  }
  return absl::OkStatus();
}

// Every rank gets the router queries of all points; queries[i] are the rows of points[i].
absl::Status Router::GatherQueries(absl::Span<const RoutePoint> points,
                                   std::vector<const float*>* queries) {
  own_queries_.clear();
  for (const RoutePoint& point : points) {
    if (point.rank != communicator_->rank()) continue;
    own_queries_.insert(own_queries_.end(), point.router_query,
                        point.router_query + point.num_rows * width_);
  }
  std::vector<absl::Span<const std::byte>> received;
  MSA_RETURN_IF_ERROR(communicator_->AllGather(AsBytes(own_queries_), &received));
  all_queries_.resize(received.size());
  for (size_t r = 0; r < received.size(); ++r) {
    all_queries_[r].resize(received[r].size() / sizeof(float));
    if (!received[r].empty())
      std::memcpy(all_queries_[r].data(), received[r].data(), received[r].size());
  }
  std::vector<int64_t> used(received.size());
  for (const RoutePoint& point : points) {
    const auto r = static_cast<size_t>(point.rank);
    queries->push_back(all_queries_[r].data() + used[r]);
    used[r] += point.num_rows * width_;
    MSA_CHECK(used[r] <= static_cast<int64_t>(all_queries_[r].size()),
              "every rank sends the rows that the plan says");
  }
  return absl::OkStatus();
}

// Points of the same bank and layer share one pass over this rank's keys. candidates[i * k ...]
// belong to points[i].
absl::Status Router::ScoreShards(absl::Span<const RoutePoint> points,
                                 absl::Span<const float* const> queries,
                                 std::vector<Candidate>* candidates, RouteStats* stats) {
  const int64_t k = config_->doc_top_k;
  candidates->assign(points.size() * static_cast<size_t>(k), {});
  std::map<std::pair<const Bank*, int>, std::vector<size_t>> groups;
  for (size_t i = 0; i < points.size(); ++i)
    groups[{points[i].bank, points[i].msa_index}].push_back(i);
  for (const auto& [key, members] : groups) {
    const Shard& shard = key.first->shard(communicator_->rank());
    batch_.clear();
    std::vector<int64_t> offsets{0};
    std::vector<uint64_t> revisions;
    std::vector<const kernels::NumberSet*> filters;
    for (size_t i : members) {
      batch_.insert(batch_.end(), queries[i], queries[i] + points[i].num_rows * width_);
      offsets.push_back(offsets.back() + points[i].num_rows);
      revisions.push_back(points[i].revision);
      filters.push_back(points[i].filter);
    }
    const auto num_queries = static_cast<int64_t>(members.size());
    std::vector<kernels::ScoredDocument> top(static_cast<size_t>(num_queries * k));
    std::vector<int64_t> num_found(members.size());
    const absl::Time start = absl::Now();
    kernels::FirstPassStats first_pass;
    MSA_RETURN_IF_ERROR(
        kernels::ScoreChunks(context_, {.query = {batch_.data(), {offsets.back(), width_}},
                                        .query_offsets = offsets,
                                        .query_revisions = revisions,
                                        .query_filters = filters,
                                        .head_reduce = config_->head_reduce,
                                        .query_reduce = config_->query_reduce,
                                        .chunk_reduce = config_->chunk_reduce,
                                        .num_query_heads = config_->num_query_heads,
                                        .num_kv_heads = config_->num_kv_heads,
                                        .head_dim = config_->head_dim,
                                        .scale = config_->score_scale(),
                                        .compute = compute_,
                                        .extents = shard.RouterKeys(key.second),
                                        .top_k = k,
                                        .top = {top.data(), {num_queries, k}},
                                        .num_found = absl::MakeSpan(num_found),
                                        .first_pass = &first_pass}));
    stats->score_time += absl::Now() - start;
    stats->scored_chunks += shard.num_chunks();
    stats->rescored_documents += first_pass.rescored_documents;
    stats->first_pass_fallbacks += first_pass.fallbacks;
    for (size_t m = 0; m < members.size(); ++m) {
      for (int64_t j = 0; j < num_found[m]; ++j) {
        const kernels::ScoredDocument& found =
            top[m * static_cast<size_t>(k) + static_cast<size_t>(j)];
        (*candidates)[members[m] * static_cast<size_t>(k) + static_cast<size_t>(j)] = {
            found, static_cast<int32_t>(shard.NumChunks(found.number)), 1};
      }
    }
  }
  return absl::OkStatus();
}

// The global top-k of this rank's own points, from all ranks' lists.
void Router::Merge(absl::Span<const RoutePoint> points,
                   absl::Span<const absl::Span<const std::byte>> lists) {
  const auto k = static_cast<size_t>(config_->doc_top_k);
  std::vector<Candidate> received(k);
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i].rank != communicator_->rank()) continue;
    std::vector<std::vector<kernels::ScoredDocument>> documents(lists.size());
    std::vector<std::vector<int32_t>> chunks(lists.size());
    for (size_t r = 0; r < lists.size(); ++r) {
      std::memcpy(received.data(), lists[r].data() + i * k * sizeof(Candidate),
                  k * sizeof(Candidate));
      for (const Candidate& candidate : received) {
        if (candidate.valid == 0) break;
        documents[r].push_back(candidate.document);
        chunks[r].push_back(candidate.num_chunks);
      }
    }
    const std::vector<absl::Span<const kernels::ScoredDocument>> views(documents.begin(),
                                                                       documents.end());
    kernels::MergedTopK merged = kernels::MergeTopK(views, config_->doc_top_k);
    Selection& selection = *points[i].selection;
    selection.num_chunks.clear();
    std::vector<size_t> next(lists.size());
    for (int owner : merged.owners) {
      const auto r = static_cast<size_t>(owner);
      selection.num_chunks.push_back(chunks[r][next[r]++]);
    }
    selection.documents = std::move(merged.documents);
    selection.owners = std::move(merged.owners);
  }
}

absl::Status Router::Fetch(const RoutePoint& point, RouteStats* stats) {
  const absl::Time start = absl::Now();
  const Selection& selection = *point.selection;
  int64_t total = 0;
  for (int64_t chunks : selection.num_chunks) total += chunks;
  point.memory->Grow(pool_, total);
  const int64_t chunk_bytes =
      2 * config_->kv_width() * static_cast<int64_t>(kernels::SizeOf(bank_dtype_));
  int64_t row = 0;
  for (size_t i = 0; i < selection.documents.size(); ++i) {
    content_.resize(static_cast<size_t>(selection.num_chunks[i] * chunk_bytes));
    MSA_RETURN_IF_ERROR(
        point.bank->shard(selection.owners[i])
            .ReadContent(selection.documents[i].number, point.msa_index, absl::MakeSpan(content_)));
    MSA_RETURN_IF_ERROR(kernels::GatherMemory(context_, {.content = content_.data(),
                                                         .content_dtype = bank_dtype_,
                                                         .num_chunks = selection.num_chunks[i],
                                                         .shape = pool_->shape(),
                                                         .pages = point.memory->pages(),
                                                         .first_row = row}));
    row += selection.num_chunks[i];
    stats->fetched_bytes += static_cast<int64_t>(content_.size());
  }
  const absl::Duration elapsed = absl::Now() - start;
  *point.fetch_time += elapsed;
  stats->fetch_time += elapsed;
  return absl::OkStatus();
}

}  // namespace msa::engine
