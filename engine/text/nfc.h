#pragma once

#include <string>
#include <string_view>

namespace msa::engine {

// Unicode normalisation form C of well-formed UTF-8 (below 2 GiB), by ICU. Time grows with n log n
// even for text that is one endless run of combining marks.
std::string ToNfc(std::string_view text);

}  // namespace msa::engine
