#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace msa::engine {

// Rewrites a regular expression written for Oniguruma, as those in tokenizer.json are, into one
// that PCRE2 (with PCRE2_UTF and PCRE2_UCP) matches in the same way. InvalidArgument, naming the
// expression and the construct, for what the two libraries read differently (\w, \h, ^, nested
// classes, bare flags, ...); that also keeps out whatever could make PCRE2 leave its normal
// matching. Syntax errors are left to PCRE2.
absl::StatusOr<std::string> TranslateSplitRegex(std::string_view regex);

}  // namespace msa::engine
