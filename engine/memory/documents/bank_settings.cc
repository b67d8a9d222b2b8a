#include "engine/memory/documents/bank_settings.h"

#include <nlohmann/json.hpp>

namespace msa::engine {
namespace {

// Calls `visit(name, field)` for every field.
template <class Limits, class Visit>
void ForEachField(Limits& limits, Visit visit) {
  visit("max_rounds", limits.max_rounds);
  visit("max_citations", limits.max_citations);
  visit("max_retrieval_tokens", limits.max_retrieval_tokens);
  visit("max_answer_tokens", limits.max_answer_tokens);
  visit("max_expansion_bytes", limits.max_expansion_bytes);
}

}  // namespace

std::string ToJson(const QueryLimits& limits) {
  nlohmann::json json = nlohmann::json::object();
  ForEachField(limits, [&](const char* name, const auto& field) {
    if (field) json[name] = *field;
  });
  return json.dump();
}

absl::StatusOr<QueryLimits> QueryLimitsFromJson(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::DataLossError("the default limits are no JSON object");
  QueryLimits limits;
  ForEachField(limits, [&](const char* name, auto& field) {
    const auto found = json.find(name);
    if (found != json.end() && found->is_number_integer()) found->get_to(field.emplace());
  });
  return limits;
}

}  // namespace msa::engine
