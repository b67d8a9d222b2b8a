#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/model/forward_probe.h"
#include "engine/model/kv_pages.h"
#include "engine/model/transformer.h"
#include "engine/parallel/communicator.h"
#include "engine/routing/router.h"
#include "engine/scheduling/document_pass.h"
#include "engine/scheduling/sequence_pass.h"
#include "engine/scheduling/step_plan.h"
#include "engine/scheduling/template_prefix.h"

namespace msa::engine {

// What a rank did in one step.
struct RankReport {
  absl::Status status;    // not OK: the rank failed and the engine is unhealthy
  double row_layers = 0;  // of slices, see Planner
  absl::Duration slice_time;
  absl::Duration decode_time;  // of rank 0
  int64_t prefill_rows = 0;    // rows times half layers, of prompts and answer blocks
  int64_t encode_rows = 0;
  RouteStats route;
};

// What it takes to run the model, but for weights and pages, which all ranks share; and a shard of
// every bank. Executes its part of a step plan; one thread at a time. Decides nothing: who runs,
// what is cut and what ends is in the plan.
class Rank {
 public:
  // Pointers must outlive the object; `probe` may be null.
  Rank(const ModelConfig* config, const Weights* weights, const TemplatePrefix* prefix,
       kernels::OpContext context, kernels::ComputeDType compute, kernels::DType bank_dtype,
       KvPagePool* pool, std::unique_ptr<Communicator> communicator, ForwardProbe* probe);

  bool has_probe() const { return sequence_pass_.has_probe(); }
  int64_t scratch_bytes() const;

  RankReport Execute(const StepPlan& plan);

 private:
  absl::Status RunStages(const StepPlan& plan, RankReport* report);

  std::unique_ptr<Communicator> communicator_;
  Transformer transformer_;
  Router router_;
  SequencePass sequence_pass_;
  DocumentPass document_pass_;
};

}  // namespace msa::engine
