#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

// Option values as texts: what users write and what --print-config prints. Errors
// (INVALID_ARGUMENT) end a sentence that begins with the option's name.
namespace msa::server {

absl::StatusOr<bool> ParseBool(std::string_view text);  // true, false
absl::StatusOr<int64_t> ParseCount(std::string_view text, int64_t least, int64_t most);
absl::StatusOr<int64_t> ParseBytes(std::string_view text, int64_t least,
                                   int64_t most);  // 123, 64KiB, 8GiB
absl::StatusOr<absl::Duration> ParseTime(std::string_view text, absl::Duration least,
                                         absl::Duration most);  // 20ms, 1m30s
absl::StatusOr<std::string> ParseChoice(std::string_view text,
                                        const std::vector<std::string>& allowed);

std::string FormatBytes(int64_t bytes);

// The candidate that `text` most likely means, or "" when none is near.
std::string Nearest(std::string_view text, const std::vector<std::string>& candidates);

}  // namespace msa::server
