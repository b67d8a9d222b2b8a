#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace msa::client {

// All of a file. NOT_FOUND where it cannot be read, INVALID_ARGUMENT where it is not UTF-8.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

}  // namespace msa::client
