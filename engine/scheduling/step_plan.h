#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/routing/router.h"
#include "engine/scheduling/forward_job.h"
#include "engine/scheduling/query.h"

namespace msa::engine {

// Rows [row_begin, row_end) of one half of one layer of one job; exactly one of the two jobs is
// set.
struct Slice {
  Query* query = nullptr;
  EncodeJob* encode = nullptr;
  Cursor at{};
  int64_t row_end = 0;
  double row_layers = 0;  // its work, see Planner
  bool completes_job = false;
};

// One step of all ranks: stages of sliced work, each closed by one routing exchange, then one token
// for every decoding sequence. Plain data, built between steps; the same for all ranks, who take
// their own part.
struct StepPlan {
  struct Stage {
    std::vector<std::vector<Slice>> slices{};  // [rank]
    std::vector<RoutePoint> routes{};          // of all ranks, in one order
  };
  std::vector<Stage> stages;
  std::vector<Query*> decode;  // by rank 0: the ranks share the weights, which it reads once

  bool empty() const;
};

// Cuts the waiting work into a step that aims at a given time. Remembers how fast rows went. Work
// is counted in row-layers: one is the products of one row in one layer, and attention counts with
// the rows that a row sees, so that the late rows of a long job make short slices.
class Planner {
 public:
  Planner(const ModelConfig* config, int num_ranks, absl::Duration slice_time);

  // `prefills` and `encodes` are [rank], oldest first. Advances their cursors; marks what the step
  // completes (Query::job_done, EncodeJob::finished). Encoding gets the whole step without
  // queries, else a quarter of it.
  StepPlan Plan(const std::vector<std::vector<Query*>>& prefills,
                const std::vector<std::vector<EncodeJob*>>& encodes, std::vector<Query*> decodes);

  // How long slices of so much work took.
  void Learn(double row_layers, absl::Duration elapsed);
  // How long the last step that decoded spent on it. The slices beside may take nearly as long, so
  // that prompts do not starve beside a large batch; the aim is that a running answer takes at most
  // twice its time (docs/adr/0004-step-shares.md).
  void LearnDecode(absl::Duration elapsed);

 private:
  struct Budget {
    double row_layers = 0;
    bool spent_any = false;
  };
  // Of the products of a row in one half of a layer, and of one row that it sees there.
  double ProductWork(const Slice& slice) const;
  double SeenRowWork() const;
  bool NextSlice(ForwardJob* job, int64_t first_row, int64_t num_rows, Budget* budget,
                 Slice* slice) const;
  bool PlanPrompt(Query* query, int rank, Budget* budget, StepPlan::Stage* stage) const;
  bool PlanEncode(EncodeJob* job, Budget* budget, std::vector<Slice>* slices) const;

  const ModelConfig* config_;
  int num_ranks_;
  absl::Duration slice_time_;
  absl::Duration decode_time_;
  double seconds_per_row_layer_;
};

}  // namespace msa::engine
