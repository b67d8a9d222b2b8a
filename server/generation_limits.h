#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/generation/generation_params.h"
#include "engine/memory/documents/bank_settings.h"
#include "msa/v1/limits.pb.h"
#include "server/options.h"

// The bounds of one answer: what a request asks for, what its bank says where it does not, and what
// the server allows.
namespace msa::server {

// INVALID_ARGUMENT names the limit below `field` that is not within the server's.
absl::StatusOr<engine::QueryLimits> ToQueryLimits(const std::string& field,
                                                  const v1::GenerationLimits& limits,
                                                  const ServerOptions::Limits& most);

void ToProto(const engine::QueryLimits& limits, v1::GenerationLimits* out);

// Where neither the request nor the bank says a bound it stays as it is. A default that is above
// what the server allows (now: it may have been started with lower limits) is cut.
void SetBounds(const engine::QueryLimits& asked, const engine::QueryLimits& defaults,
               const ServerOptions::Limits& most, engine::GenerationParams* params);

}  // namespace msa::server
