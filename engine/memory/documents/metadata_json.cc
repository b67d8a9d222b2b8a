#include "engine/memory/documents/metadata_json.h"

#include <nlohmann/json.hpp>

namespace msa::engine {

std::string ToJson(const Metadata& metadata) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [key, value] : metadata) {
    std::visit([&, name = key](const auto& v) { object[name] = v; }, value);
  }
  return object.dump();
}

absl::StatusOr<Metadata> MetadataFromJson(std::string_view json) {
  const auto object = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::DataLossError("metadata is not a JSON object");
  Metadata metadata;
  for (const auto& [key, value] : object.items()) {
    if (value.is_string()) {
      metadata[key] = value.get<std::string>();
    } else if (value.is_number()) {
      metadata[key] = value.get<double>();
    } else if (value.is_boolean()) {
      metadata[key] = value.get<bool>();
    } else {
      return absl::DataLossError("metadata holds a value that is no string, number or bool");
    }
  }
  return metadata;
}

}  // namespace msa::engine
