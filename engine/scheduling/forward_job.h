#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "engine/memory/document_encoder.h"
#include "engine/model/model_config.h"

namespace msa::engine {

// A layer in two halves, with the routing point of an MSA layer between them: kProject makes
// queries, keys, values and router rows; kAttend runs attention, output projection and MLP. Each
// half can be sliced by rows.
enum class LayerPhase { kProject, kAttend };

// Where a job stands: everything before (layer, phase, row) is planned or done.
struct Cursor {
  int64_t layer = 0;
  LayerPhase phase = LayerPhase::kProject;
  int64_t row = 0;
};

// Rows that go through the layers together, layer by layer: a later layer of an MSA model needs the
// routing of all rows of the earlier one, so rows cannot run ahead.
struct ForwardJob {
  std::vector<int32_t> token_ids;  // [T]
  std::vector<int32_t> positions;  // [T]
  std::vector<int32_t> visible;    // [T] local rows that a row sees, itself included
  Cursor cursor;                   // moved by the planner
  std::vector<float> hidden;       // [T, M]
  std::vector<float> query;  // [T, Hq * D] of the current layer, kept from kProject to kAttend

  int64_t num_rows() const { return static_cast<int64_t>(token_ids.size()); }
};

// A sequence's prompt of one round, or its answer block.
struct PromptJob : ForwardJob {
  bool routes =
      false;  // prompts route at MSA layers; the answer block reads what was selected before
  std::vector<int32_t> routed_rows;  // ascending
  int64_t first_local_row = 0;       // of the sequence, where row 0 goes
  int64_t reused_rows = 0;           // kept from the round before: done below the first MSA layer
  bool keeps_rows = false;           // for the next round
  std::vector<float> router_query;   // [routed rows, W] of the current layer
  int64_t last_layer_first_row = 0;  // rows before it need not leave the last layer

  int64_t activation_bytes() const {
    return static_cast<int64_t>((hidden.size() + query.size() + router_query.size()) *
                                sizeof(float));
  }
};

// Documents being encoded together; none sees another. The last layer ends after its projections.
struct EncodeJob : ForwardJob {
  std::vector<int64_t> doc_offsets;  // [N + 1]
  std::vector<float> key;            // [T, Hkv * D] of the current layer, likewise the next two
  std::vector<float> value;
  std::vector<float> router_key;
  std::vector<EncodedDocument> documents;         // [N]
  std::vector<DocumentEncoder::EncodeDone> done;  // [N]
  absl::Duration started;                         // monotonic
  bool finished = false;                          // set by the planner with the last slice

  int64_t activation_bytes() const {
    return static_cast<int64_t>(
        (hidden.size() + query.size() + key.size() + value.size() + router_key.size()) *
        sizeof(float));
  }
};

}  // namespace msa::engine
