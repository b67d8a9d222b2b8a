#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"
#include "kernels/core/op_context.h"
#include "kernels/core/tensor_view.h"

namespace msa::engine {

struct LayerWeights {
  kernels::TensorView<const float, 1> input_norm;           // [M]
  kernels::TensorView<const float, 1> post_attention_norm;  // [M]
  kernels::TensorView<const float, 1> query_norm;           // [D]
  kernels::TensorView<const float, 1> key_norm;             // [D]
  kernels::MatrixView query;                                // [Hq * D, M]
  kernels::MatrixView key;                                  // [Hkv * D, M]
  kernels::MatrixView value;                                // [Hkv * D, M]
  kernels::MatrixView output;                               // [M, Hq * D]
  kernels::MatrixView gate;                                 // [F, M]
  kernels::MatrixView up;                                   // [F, M]
  kernels::MatrixView down;                                 // [M, F]
  kernels::MatrixView
      router_query;                // [Hq * D, M]; rows = 0 on other layers or with a shared router
  kernels::MatrixView router_key;  // [Hkv * D, M]; likewise
};

// All weights of a model in host memory, one copy per process whatever the number of ranks. Immutable; thread-safe.
// Matrices are bf16 or f32: bf16 tensors stay bf16, under f32 compute f32 ones stay f32 and f16 is widened to f32; f16 and
// f32 are rounded to bf16 under bf16 compute, and a value too large for bf16 is refused. Norm weights are widened to f32.
// All are copied out of the files, into memory on huge pages (docs/adr/0005-weights-on-huge-pages.md).
class Weights {
 public:
  // Opens and validates the checkpoint in `model_dir` (see checkpoint.h) against `config`, then reads all of it once for the
  // fingerprint (see fingerprint.h, with its cost), copies it and converts what must be; the files are closed then.
  // INVALID_ARGUMENT or NOT_FOUND name file, tensor, expected and found; NaN and infinity are refused. RESOURCE_EXHAUSTED
  // when there is no memory for the copy.
  static absl::StatusOr<std::unique_ptr<Weights>> Load(const std::string& model_dir,
                                                       const ModelConfig& config,
                                                       kernels::ComputeDType compute);
  virtual ~Weights() = default;

  kernels::MatrixView embedding;                   // [V, M]
  kernels::MatrixView lm_head;                     // [V, M]; the embedding when tied
  kernels::TensorView<const float, 1> final_norm;  // [M]
  std::vector<LayerWeights> layers;                // [L]

  // XXH3-128 (hex) over the names, dtypes, shapes and bytes of all tensors that the model reads and over the settings of
  // ModelConfig that change encodings (geometry, MSA layers, pooling, router, similarity, rope, eps): banks are bound to it.
  std::string fingerprint;
  int64_t resident_bytes = 0;  // of the tensors, as they are stored
};

}  // namespace msa::engine
