#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/model/forward_probe.h"
#include "engine/model/kv_pages.h"
#include "engine/model/transformer.h"
#include "engine/scheduling/query.h"
#include "engine/scheduling/step_plan.h"
#include "engine/scheduling/template_prefix.h"
#include "kernels/ops/attend.h"
#include "kernels/ops/kv_span.h"

namespace msa::engine {

// Runs the rows of sequences: slices of prompts and answer blocks, and decode batches; attention
// goes over [template prefix; memory of the selected documents; the sequence's own rows]. One
// thread at a time.
class SequencePass {
 public:
  // Pointers must outlive the object; `probe` may be null.
  SequencePass(const TemplatePrefix* prefix, Transformer* transformer, KvPagePool* pool,
               ForwardProbe* probe);

  // A slice that completes its job also chooses the query's pending_token.
  absl::Status RunPrompt(const Slice& slice);
  // Feeds every query's pending_token and chooses the next one. A failure of one sequence goes to
  // its status.
  absl::Status Decode(const std::vector<Query*>& queries);

  bool has_probe() const { return probe_ != nullptr; }
  int64_t scratch_bytes() const;

 private:
  absl::Status ProjectPrompt(Query* query, const Slice& slice);
  absl::Status AttendPrompt(Query* query, const Slice& slice);
  // All rows of a prompt, once the last of them is about to enter the first MSA layer.
  void KeepRows(Query* query) const;
  absl::Status ChooseTokens(absl::Span<Query* const> queries,
                            kernels::TensorView<const float, 2> hidden);

  // What a decode batch lists of its sequences, of use within Decode only; kept, so that a step does
  // not allocate it anew.
  struct DecodeBatch {
    std::vector<Query*> queries;
    std::vector<int32_t> token_ids;
    std::vector<int32_t> positions;
    std::vector<int32_t> visible;
    std::vector<std::vector<kernels::KvSpan>> shared_spans;  // at least one per query
    std::vector<std::vector<kernels::KvSpan>> local_spans;   // likewise
    std::vector<kernels::AttendGroup> groups;
  };

  const ModelConfig* config_;
  const TemplatePrefix* prefix_;
  Transformer* transformer_;
  KvPagePool* pool_;
  ForwardProbe* probe_;
  DecodeBatch batch_;
  // Scratch of one slice or decode batch, [kMaxRows, ...].
  std::vector<float> query_rows_;      // Hq * D
  std::vector<float> key_rows_;        // Hkv * D
  std::vector<float> value_rows_;      // Hkv * D
  std::vector<float> attention_rows_;  // Hq * D
  std::vector<float> router_rows_;     // W
  std::vector<float> hidden_rows_;     // M
  std::vector<float> logits_;          // [batch, V]
};

}  // namespace msa::engine
