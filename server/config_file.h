#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace msa::server {

// Reads a configuration file: YAML, sections that hold keys with scalar values. Gives
// ("section.key", value) in the order of the file. INVALID_ARGUMENT names file, line and what is
// wrong.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> ReadConfigFile(
    const std::string& path);

}  // namespace msa::server
