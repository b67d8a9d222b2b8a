#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace msa::kernels {

// A status with its machine-readable detail (kernels::ErrorDetail).
absl::Status Refusal(absl::StatusCode code, const std::string& message, const std::string& reason,
                     const std::string& field = "",
                     const std::map<std::string, std::string>& metadata = {},
                     std::optional<absl::Duration> retry_after = std::nullopt);

// The same status with `prefix` and ": " before its message, its detail kept.
absl::Status Prefixed(const absl::Status& status, const std::string& prefix);

}  // namespace msa::kernels
