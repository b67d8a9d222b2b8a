#include "engine/scheduling/rank.h"

#include <utility>

#include "absl/time/clock.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {

Rank::Rank(const ModelConfig* config, const Weights* weights, const TemplatePrefix* prefix,
           kernels::OpContext context, kernels::ComputeDType compute, kernels::DType bank_dtype,
           KvPagePool* pool, std::unique_ptr<Communicator> communicator, ForwardProbe* probe)
    : communicator_(std::move(communicator)),
      transformer_(config, weights, context, compute),
      router_(config, transformer_.router_query_width(), context, compute, bank_dtype, pool,
              communicator_.get()),
      sequence_pass_(prefix, &transformer_, pool, probe),
      document_pass_(&transformer_, bank_dtype) {}

int64_t Rank::scratch_bytes() const {
  return transformer_.scratch_bytes() + router_.scratch_bytes() + sequence_pass_.scratch_bytes() +
         document_pass_.scratch_bytes();
}

RankReport Rank::Execute(const StepPlan& plan) {
  RankReport report;
  report.status = RunStages(plan, &report);
  if (report.status.ok() && communicator_->rank() == 0) {
    const absl::Time start = absl::Now();
    report.status = sequence_pass_.Decode(plan.decode);
    report.decode_time = absl::Now() - start;
  }
  // The others must not wait for a rank that is gone.
  if (!report.status.ok()) communicator_->Abort(report.status);
  return report;
}

absl::Status Rank::RunStages(const StepPlan& plan, RankReport* report) {
  for (const StepPlan::Stage& stage : plan.stages) {
    const absl::Time start = absl::Now();
    for (const Slice& slice : stage.slices[static_cast<size_t>(communicator_->rank())]) {
      report->row_layers += slice.row_layers;
      const int64_t rows = slice.row_end - slice.at.row;
      if (slice.encode != nullptr) {
        report->encode_rows += rows;
        MSA_RETURN_IF_ERROR(document_pass_.Run(slice));
        continue;
      }
      report->prefill_rows += rows;
      // A sequence that failed earlier in the step only keeps its place in the exchanges.
      if (!slice.query->status.ok()) continue;
      const absl::Time slice_start = absl::Now();
      MSA_RETURN_IF_ERROR(sequence_pass_.RunPrompt(slice));
      slice.query->timings.prefill += absl::Now() - slice_start;
    }
    report->slice_time += absl::Now() - start;
    if (!stage.routes.empty()) MSA_RETURN_IF_ERROR(router_.Route(stage.routes, &report->route));
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
