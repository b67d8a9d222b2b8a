#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"
#include "kernels/core/thread_pool.h"

namespace msa::engine {

// XXH3-128, 32 hex digits, over the settings that change what a document is encoded to (geometry, MSA layers, pooling,
// router, similarity, rope, eps) and over name, dtype, shape and bytes of every expected tensor in ascending order of names.
// The same for one file and for any sharding of it; it does not depend on the directory, on ignored tensors, on the compute
// dtype or on the number of threads. Not a defence against forgery.
//
// The same pass refuses NaN and infinity: INVALID_ARGUMENT names file, tensor and element.
//
// Cost: reads every weight once, in blocks on all threads of `pool`, so it runs at the speed of the disk (8.5 GB for the 4B
// model) or, when the files are cached, of the memory; afterwards the mapping is resident, as serving needs it anyway.
// `checkpoint` must be valid for `config`.
absl::StatusOr<std::string> FingerprintModel(const ModelConfig& config,
                                             const Checkpoint& checkpoint,
                                             kernels::ThreadPool& pool);

}  // namespace msa::engine
