#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/memory/documents/document.h"

namespace msa::engine {

// Metadata as the catalog stores it: one JSON object, keys in byte order, so that equal metadata
// has equal text. Numbers are written so that they read back as the same double. Needs valid UTF-8
// and finite numbers (CheckDocument).
std::string ToJson(const Metadata& metadata);
absl::StatusOr<Metadata> MetadataFromJson(std::string_view json);  // DATA_LOSS

}  // namespace msa::engine
