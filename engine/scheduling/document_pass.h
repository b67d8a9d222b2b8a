#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/model/transformer.h"
#include "engine/scheduling/step_plan.h"

namespace msa::engine {

// Runs slices of document encoding: causal within each document, pooled per MSA layer into the
// documents' memory. One thread at a time.
class DocumentPass {
 public:
  DocumentPass(Transformer* transformer, kernels::DType bank_dtype);

  absl::Status Run(const Slice& slice);
  int64_t scratch_bytes() const {
    return static_cast<int64_t>((attention_rows_.size() + pooled_.size()) * sizeof(float));
  }

 private:
  absl::Status Project(EncodeJob* job, const Slice& slice);
  absl::Status Attend(EncodeJob* job, const Slice& slice);
  absl::Status Pool(EncodeJob* job, int msa_index);

  const ModelConfig* config_;
  Transformer* transformer_;
  kernels::DType bank_dtype_;
  std::vector<float> attention_rows_;  // [kMaxRows, Hq * D]
  std::vector<float> pooled_;          // [chunks of one job, Hkv * D]
};

}  // namespace msa::engine
