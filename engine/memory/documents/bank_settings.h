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

// How a query goes over a bank's router keys.
enum class RouterKeyScan {
  kExact,  // all of them
  // Int8 copies first, then the exact keys that a proof could not rule out
  // (kernels/ops/key_candidates.h): the same documents in less time, for half as much memory again.
  kInt8,
};

// What the owner of a bank chooses.
struct BankSettings {
  std::string display_name;
  // Most tokens of ACCEPTED and ACTIVE documents and of tombstones; 0: no limit.
  int64_t token_budget = 0;
  QueryLimits default_limits = {};                        // the bank only keeps them
  RouterKeyScan router_key_scan = RouterKeyScan::kExact;  // from the next time the bank is opened
};

// What is set is changed.
struct BankSettingsChange {
  std::optional<std::string> display_name = {};
  std::optional<int64_t> token_budget = {};
  std::optional<QueryLimits> default_limits = {};
  std::optional<RouterKeyScan> router_key_scan = {};
};

// A JSON object of what is set; "{}" without anything.
std::string ToJson(const QueryLimits& limits);
absl::StatusOr<QueryLimits> QueryLimitsFromJson(std::string_view json);  // DATA_LOSS

}  // namespace msa::engine
