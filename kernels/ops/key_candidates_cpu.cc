#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "kernels/core/aligned_buffer.h"
#include "kernels/ops/document_ranges.h"
#include "kernels/ops/document_visibility.h"
#include "kernels/ops/dot_product.h"
#include "kernels/ops/int8_scan.h"
#include "kernels/ops/key_candidates.h"
#include "kernels/ops/quantized_keys.h"
#include "kernels/ops/running_top_k.h"

namespace msa::kernels {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
// Of one owner and query, before those that a better k-th document has ruled out are dropped.
constexpr size_t kMostCandidates = 4096;

// A document whose upper bound is below this has a lower score than one of raw score `lower`, also
// after both were multiplied by the scale and rounded: scores are at most 65536 * 1e15 * 1e15
// (quantized_keys.h), and scales 1e3, which f32 holds.
float CutBelow(float lower) { return lower - std::abs(lower) * 0x1p-21f - 1e-30f; }

// What one owner has found for one query.
class Candidates {
 public:
  explicit Candidates(size_t k) : lower_(k) {}

  struct Candidate {
    float upper;
    DocumentPlace place;
  };
  float cut() const { return cut_; }
  const RunningTopK& lower() const { return lower_; }
  const std::vector<Candidate>& documents() const { return documents_; }
  bool too_many() const { return too_many_; }

  void Offer(float upper, float lower, uint32_t number, const DocumentPlace& place) {
    if (upper < cut_) return;
    documents_.push_back({upper, place});
    lower_.Offer({lower, number});
    if (lower_.is_full()) cut_ = CutBelow(lower_.worst().score);
    if (documents_.size() < kMostCandidates) return;
    std::erase_if(documents_, [this](const Candidate& c) { return c.upper < cut_; });
    too_many_ = documents_.size() > kMostCandidates / 2;
  }

 private:
  RunningTopK lower_;
  float cut_ = kLowest;
  std::vector<Candidate> documents_;
  bool too_many_ = false;
};

class FirstPass {
 public:
  FirstPass(const ScoreChunksArgs& args, const Int8ScanKernel& kernel, const Int8Rows& rows)
      : args_(args), kernel_(kernel), rows_(rows), visibility_(args) {}

  // `found` [Q], of one owner. Ends early where some owner has too many.
  void Pass(const DocumentRange& range, std::vector<Candidates>& found);
  bool gave_up() const { return gave_up_; }

 private:
  static constexpr size_t kGroupChunks = static_cast<size_t>(kChunksPerGroup);
  struct OpenDocument {
    size_t document;
    float upper = kLowest;
    float lower = kLowest;
  };
  void Close(const DocumentRange& range, size_t query, const OpenDocument& open,
             std::vector<Candidates>& found) {
    const KeyExtent& extent = args_.extents[range.extent];
    if (open.upper == kLowest || open.upper < found[query].cut()) return;
    if (!visibility_.MayFind(query, extent, open.document)) return;
    found[query].Offer(open.upper, open.lower, extent.numbers[open.document],
                       {range.extent, open.document});
    if (found[query].too_many()) gave_up_ = true;
  }

  const ScoreChunksArgs& args_;
  const Int8ScanKernel& kernel_;
  const Int8Rows& rows_;
  const DocumentVisibility visibility_;
  std::atomic<bool> gave_up_ = false;
};

void FirstPass::Pass(const DocumentRange& range, std::vector<Candidates>& found) {
  static thread_local AlignedBuffer bound_buffer;
  const KeyExtent& extent = args_.extents[range.extent];
  const int64_t width = args_.query.shape[1];
  const auto group_bytes = static_cast<size_t>(QuantizedGroupBytes(width));
  // Groups at a time: about what stays in the cache while it is passed over by all rows.
  constexpr size_t kBlockBytes = 32 * 1024;
  const size_t groups_per_block = std::clamp<size_t>(kBlockBytes / group_bytes / 2 * 2, 2, 32);
  const size_t stride = groups_per_block * kGroupChunks;
  const size_t num_queries = found.size();
  float* const upper = bound_buffer.Get<float>(2 * num_queries * stride);
  float* const lower = upper + num_queries * stride;

  const size_t begin = extent.chunk_offsets[range.first_document];
  const size_t end = extent.chunk_offsets[range.end_document];
  std::vector<OpenDocument> open(num_queries, OpenDocument{range.first_document});
  const size_t end_group = (end + kGroupChunks - 1) / kGroupChunks;
  for (size_t group = begin / kGroupChunks; group < end_group && !gave_up_;
       group += groups_per_block) {
    const size_t num_groups = std::min(groups_per_block, end_group - group);
    std::fill_n(upper, 2 * num_queries * stride, kLowest);
    kernel_.scan({.rows = &rows_,
                  .groups = extent.quantized_keys + group * group_bytes,
                  .num_groups = num_groups,
                  .steps = static_cast<size_t>(QuantizedSteps(width)),
                  .upper = upper,
                  .lower = lower,
                  .stride = stride});
    const size_t first = group * kGroupChunks;
    const size_t from = std::max(begin, first) - first;
    const size_t to = std::min(end, first + num_groups * kGroupChunks) - first;
    for (size_t query = 0; query < num_queries; ++query) {
      if (!visibility_.HasRows(query)) continue;
      const float* const uppers = upper + query * stride;
      OpenDocument& document = open[query];
      for (size_t j = from; j < to; ++j) {
        // What is below the cut now is so later, and matters neither above nor below.
        if (uppers[j] < found[query].cut()) continue;
        const size_t chunk = first + j;
        if (chunk >= extent.chunk_offsets[document.document + 1]) {
          Close(range, query, document, found);
          const auto* const next =
              std::upper_bound(extent.chunk_offsets.begin() + document.document + 2,
                               extent.chunk_offsets.end(), chunk);
          document = {static_cast<size_t>(next - extent.chunk_offsets.begin()) - 1};
        }
        document.upper = std::max(document.upper, uppers[j]);
        document.lower = std::max(document.lower, lower[query * stride + j]);
      }
    }
  }
  for (size_t query = 0; query < num_queries; ++query) Close(range, query, open[query], found);
}

// Those of all owners that the k-th largest lower bound of all owners does not rule out.
void Join(absl::Span<const std::vector<Candidates>> found, size_t query, size_t k,
          std::vector<DocumentPlace>* places) {
  RunningTopK lower(k);
  for (const std::vector<Candidates>& owner : found) {
    for (const ScoredDocument& document : owner[query].lower().documents()) lower.Offer(document);
  }
  const float cut = lower.is_full() ? CutBelow(lower.worst().score) : kLowest;
  for (const std::vector<Candidates>& owner : found) {
    for (const Candidates::Candidate& candidate : owner[query].documents()) {
      if (candidate.upper >= cut) places->push_back(candidate.place);
    }
  }
}

// Whether reading all exact keys is the better way, or copying those of `places` takes much memory.
bool CostsTooMuch(const ScoreChunksArgs& args, absl::Span<const DocumentPlace> places) {
  constexpr size_t kMostBytes = size_t{32} << 20;
  constexpr size_t kLeastChunksPerCandidate = 4;
  size_t num_chunks = 0;
  for (const KeyExtent& extent : args.extents) num_chunks += extent.chunk_offsets.back();
  size_t num_candidates = 0;
  for (const DocumentPlace& place : places) {
    const absl::Span<const uint32_t> offsets = args.extents[place.extent].chunk_offsets;
    num_candidates += offsets[place.document + 1] - offsets[place.document];
  }
  const size_t key_bytes =
      static_cast<size_t>(args.query.shape[1]) * SizeOf(args.extents.front().dtype);
  return num_candidates > num_chunks / kLeastChunksPerCandidate ||
         num_candidates * key_bytes > kMostBytes;
}

}  // namespace

bool HasFirstPass(const ScoreChunksArgs& args) {
  if (!FirstPassReduces(args.head_reduce, args.query_reduce, args.chunk_reduce) ||
      !(args.scale >= 1e-3f && args.scale <= 1e3f) || args.query.shape[0] == 0 ||
      args.query.shape[1] > 65536) {
    return false;
  }
  constexpr int64_t kFewestDocumentsPerResult = 8;
  int64_t num_documents = 0;
  for (const KeyExtent& extent : args.extents) {
    if (extent.dtype != args.extents.front().dtype) return false;
    if (extent.chunk_offsets.back() == 0) continue;
    if (extent.quantized_keys == nullptr) return false;
    num_documents += static_cast<int64_t>(extent.numbers.size());
  }
  if (num_documents < kFewestDocumentsPerResult * args.top_k) return false;
  const auto finds_any = [](const NumberSet* filter) { return filter == nullptr; };
  return args.query_filters.empty() ||
         std::any_of(args.query_filters.begin(), args.query_filters.end(), finds_any);
}

std::optional<std::vector<DocumentPlace>> FindCandidates(ThreadPool& pool,
                                                         const ScoreChunksArgs& args) {
  const Int8ScanKernel kernel = SelectInt8ScanKernel();
  const DType dtype = args.extents.front().dtype;
  const bool round = dtype == DType::kBF16 && SelectDotKernel(dtype, args.compute).round_to_bf16;
  Int8Rows rows;
  if (!PrepareInt8Rows(args.query, args.query_offsets, round, kernel, &rows)) return std::nullopt;
  FirstPass pass(args, kernel, rows);
  const DocumentRuns runs = CutDocuments(args.extents, pool);
  const auto k = static_cast<size_t>(args.top_k);
  const size_t num_queries = args.query_offsets.size() - 1;
  std::vector<std::vector<Candidates>> found(runs.num_owners,
                                             std::vector<Candidates>(num_queries, Candidates(k)));
  ForEachRange(pool, runs,
               [&](size_t owner, const DocumentRange& range) { pass.Pass(range, found[owner]); });
  if (pass.gave_up()) return std::nullopt;
  std::vector<DocumentPlace> places;
  for (size_t query = 0; query < num_queries; ++query) Join(found, query, k, &places);
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  if (CostsTooMuch(args, places)) return std::nullopt;
  return places;
}

}  // namespace msa::kernels
