#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/memory/bank.h"
#include "engine/model/kv_pages.h"
#include "engine/model/model_config.h"
#include "engine/parallel/communicator.h"
#include "engine/routing/selection.h"
#include "kernels/core/op_context.h"
#include "kernels/ops/number_set.h"

namespace msa::engine {

// A prompt that has reached an MSA layer: its routed rows choose the documents that all its rows
// attend to. The list of a stage is the same on all ranks; the pointers belong to the sequence's
// own rank and are used there only.
struct RoutePoint {
  int rank = 0;  // where the sequence runs
  const Bank* bank = nullptr;
  uint64_t revision = 0;                       // pinned by the query
  const kernels::NumberSet* filter = nullptr;  // the only documents that it may find; null: all
  int msa_index = 0;                           // place in ModelConfig::msa_layers
  int64_t num_rows = 0;                        // routed rows

  const float* router_query = nullptr;  // [num_rows, W]
  Selection* selection = nullptr;       // out
  KvRows* memory =
      nullptr;  // out: the winners' content in order of the selection; null: not needed
  absl::Status* status =
      nullptr;  // in: rows of a failed sequence are not fetched; out: DATA_LOSS of its content
  absl::Duration* score_time = nullptr;  // += the stage's time, shared by its routes
  absl::Duration* fetch_time = nullptr;  // += this route's
};

// What a rank did in one stage, for metrics.
struct RouteStats {
  int64_t scored_chunks = 0;         // chunks passed over, once per (bank, layer) and stage
  absl::Duration score_time;         // of the local scan
  int64_t rescored_documents = 0;    // whose exact keys were read after a first pass
  int64_t first_pass_fallbacks = 0;  // first passes after which all exact keys were
  int64_t fetched_bytes = 0;
  absl::Duration fetch_time;
};

// Memory Parallel on one rank: score the local shards, exchange the local top-k, merge, fetch the
// winners' content. All ranks call Route with the same points in the same order. One thread at a
// time.
class Router {
 public:
  // All pointers must outlive the object; `width` is Transformer::router_query_width().
  Router(const ModelConfig* config, int64_t width, kernels::OpContext context,
         kernels::ComputeDType compute, kernels::DType bank_dtype, KvPagePool* pool,
         Communicator* communicator);

  // An error means that this rank cannot go on (a collective was aborted or an op failed).
  absl::Status Route(absl::Span<const RoutePoint> points, RouteStats* stats);
  int64_t scratch_bytes() const;

 private:
  struct Candidate {  // what travels between ranks
    kernels::ScoredDocument document;
    int32_t num_chunks = 0;
    int32_t valid = 0;
  };
  absl::Status GatherQueries(absl::Span<const RoutePoint> points,
                             std::vector<const float*>* queries);
  absl::Status ScoreShards(absl::Span<const RoutePoint> points,
                           absl::Span<const float* const> queries,
                           std::vector<Candidate>* candidates, RouteStats* stats);
  void Merge(absl::Span<const RoutePoint> points,
             absl::Span<const absl::Span<const std::byte>> lists);
  absl::Status Fetch(const RoutePoint& point, RouteStats* stats);

  const ModelConfig* config_;
  int64_t width_;
  kernels::OpContext context_;
  kernels::ComputeDType compute_;
  kernels::DType bank_dtype_;
  KvPagePool* pool_;
  Communicator* communicator_;
  std::vector<float> own_queries_;
  std::vector<std::vector<float>> all_queries_;  // [rank]
  std::vector<float> batch_;
  std::vector<std::byte> content_;
};

}  // namespace msa::engine
