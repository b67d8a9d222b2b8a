#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace msa::engine {

// What a query takes for limits that it leaves unset; unset here: the defaults of GenerationParams,
// where the fields are described.
struct QueryLimits {
  std::optional<int32_t> max_rounds;
  std::optional<int32_t> max_citations;
  std::optional<int32_t> max_retrieval_tokens;
  std::optional<int32_t> max_answer_tokens;
  std::optional<int64_t> max_expansion_bytes;
  friend bool operator==(const QueryLimits&, const QueryLimits&) = default;
};

// What the owner of a bank chooses.
struct BankSettings {
  std::string display_name;
  // Most tokens of ACCEPTED and ACTIVE documents and of tombstones; 0: no limit.
  int64_t token_budget = 0;
  QueryLimits default_limits = {};  // the bank only keeps them
};

// What is set is changed.
struct BankSettingsChange {
  std::optional<std::string> display_name;
  std::optional<int64_t> token_budget;
  std::optional<QueryLimits> default_limits;
};

// A JSON object of what is set; "{}" without anything.
std::string ToJson(const QueryLimits& limits);
absl::StatusOr<QueryLimits> QueryLimitsFromJson(std::string_view json);  // DATA_LOSS

}  // namespace msa::engine
