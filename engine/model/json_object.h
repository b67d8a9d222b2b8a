#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace msa::engine {

// A JSON object out of a file that nobody vouches for. Every error is INVALID_ARGUMENT and names the file, the key, the
// value found and what is allowed. A key whose value is null counts as absent. Never throws; immutable, thread-safe.
class JsonObject {
 public:
  // Refuses text that is not one JSON object, repeats a key within an object or nests deeper than 32 levels.
  // `where` names the file in errors.
  static absl::StatusOr<JsonObject> Parse(std::string_view text, const std::string& where);

  const nlohmann::json& members() const { return json_; }
  bool Has(const std::string& key) const { return Find(key) != nullptr; }
  const nlohmann::json* Find(const std::string& key) const;  // nullptr when absent or null

  // The value of `key`, or `fallback` when it is absent; an error when it is absent and there is no fallback.
  absl::StatusOr<int64_t> Integer(const std::string& key, int64_t lowest, int64_t highest,
                                  std::optional<int64_t> fallback = std::nullopt) const;
  absl::StatusOr<double> Number(const std::string& key, double lowest, double highest,
                                std::optional<double> fallback = std::nullopt) const;
  absl::StatusOr<bool> Bool(const std::string& key,
                            std::optional<bool> fallback = std::nullopt) const;
  absl::StatusOr<std::string> String(const std::string& key,
                                     std::optional<std::string> fallback = std::nullopt) const;
  absl::StatusOr<JsonObject> Object(const std::string& key) const;

  // "WHERE: KEY is VALUE; ALLOWED" with VALUE as found in the file ("missing" when absent).
  absl::Status Refuse(const std::string& key, std::string_view allowed) const;

 private:
  std::string where_;
  std::string prefix_;  // "" or "msa_config."
  nlohmann::json json_;
};

// JSON text of `value` for an error message: one line, invalid UTF-8 replaced, at most 80 bytes.
std::string Shorten(const nlohmann::json& value);

}  // namespace msa::engine
