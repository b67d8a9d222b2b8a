#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

// Reading a JSON file of unknown truth: any value may be missing or of any type, and an error says
// which component is wrong, what it is and what is supported. A `const json*` that is null means
// "missing".
namespace msa::engine {

// Parses. Refuses with InvalidArgument what is not JSON, not an object, or has an object with a key
// twice (the parser alone would silently keep the last).
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text);

// The member `key`; nullptr if there is none. `object` may be of any type.
const nlohmann::json* Find(const nlohmann::json& object, const char* key);

bool IsAbsent(const nlohmann::json* value);         // missing or null
bool IsAbsentOrEmpty(const nlohmann::json* value);  // or ""
bool IsFalse(const nlohmann::json* value);
// Whether it is an object whose "type" is `type`.
bool IsType(const nlohmann::json* value, std::string_view type);

// `text` in quotation marks, cut after a line.
std::string Shown(std::string_view text);

// InvalidArgument: `component` is `found`; supported: `supported`.
absl::Status Unsupported(absl::string_view component, const nlohmann::json* found,
                         absl::string_view supported);

// The boolean member `key`, which must be there.
absl::StatusOr<bool> ReadBool(const nlohmann::json& object, const char* key,
                              absl::string_view component);

}  // namespace msa::engine
