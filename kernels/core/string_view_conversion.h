#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

// Debian's Abseil has a string_view type of its own that does not convert to or from
// std::string_view.
namespace msa::kernels {

inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace msa::kernels
