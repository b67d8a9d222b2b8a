#include "server/generation_limits.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"
#include "server/request_validation.h"

namespace msa::server {
namespace {

template <class Value>
absl::Status Take(const std::string& field, bool is_set, Value asked, int64_t most,
                  std::optional<Value>* out) {
  if (!is_set) return absl::OkStatus();
  MSA_RETURN_IF_ERROR(CheckRange(field, asked, 1, most));
  *out = asked;
  return absl::OkStatus();
}

template <class Value>
void SetBound(const std::optional<Value>& asked, const std::optional<Value>& bank, int64_t most,
              Value* bound) {
  *bound = asked.value_or(bank.value_or(*bound));
  *bound = static_cast<Value>(std::min<int64_t>(*bound, most));
}

}  // namespace

absl::StatusOr<engine::QueryLimits> ToQueryLimits(const std::string& field,
                                                  const v1::GenerationLimits& limits,
                                                  const ServerOptions::Limits& most) {
  const auto name = [&field](const char* limit) { return absl::StrCat(field, ".", limit); };
  engine::QueryLimits out;
  MSA_RETURN_IF_ERROR(Take(name("max_rounds"), limits.has_max_rounds(), limits.max_rounds(),
                           most.max_rounds, &out.max_rounds));
  MSA_RETURN_IF_ERROR(Take(name("max_citations"), limits.has_max_citations(),
                           limits.max_citations(), most.max_citations, &out.max_citations));
  MSA_RETURN_IF_ERROR(Take(name("max_retrieval_tokens"), limits.has_max_retrieval_tokens(),
                           limits.max_retrieval_tokens(), most.max_retrieval_tokens,
                           &out.max_retrieval_tokens));
  MSA_RETURN_IF_ERROR(Take(name("max_answer_tokens"), limits.has_max_answer_tokens(),
                           limits.max_answer_tokens(), most.max_answer_tokens,
                           &out.max_answer_tokens));
  MSA_RETURN_IF_ERROR(Take(name("max_expansion_bytes"), limits.has_max_expansion_bytes(),
                           limits.max_expansion_bytes(), most.max_expansion_bytes,
                           &out.max_expansion_bytes));
  return out;
}

void ToProto(const engine::QueryLimits& limits, v1::GenerationLimits* out) {
  if (limits.max_rounds) out->set_max_rounds(*limits.max_rounds);
  if (limits.max_citations) out->set_max_citations(*limits.max_citations);
  if (limits.max_retrieval_tokens) out->set_max_retrieval_tokens(*limits.max_retrieval_tokens);
  if (limits.max_answer_tokens) out->set_max_answer_tokens(*limits.max_answer_tokens);
  if (limits.max_expansion_bytes) out->set_max_expansion_bytes(*limits.max_expansion_bytes);
}

void SetBounds(const engine::QueryLimits& asked, const engine::QueryLimits& defaults,
               const ServerOptions::Limits& most, engine::GenerationParams* params) {
  SetBound(asked.max_rounds, defaults.max_rounds, most.max_rounds, &params->max_rounds);
  SetBound(asked.max_citations, defaults.max_citations, most.max_citations, &params->max_citations);
  SetBound(asked.max_retrieval_tokens, defaults.max_retrieval_tokens, most.max_retrieval_tokens,
           &params->max_retrieval_tokens);
  SetBound(asked.max_answer_tokens, defaults.max_answer_tokens, most.max_answer_tokens,
           &params->max_answer_tokens);
  SetBound(asked.max_expansion_bytes, defaults.max_expansion_bytes, most.max_expansion_bytes,
           &params->max_expansion_bytes);
}

}  // namespace msa::server
