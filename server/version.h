#pragma once

#include <string_view>

namespace msa::server {

// Of this program, as in the file VERSION.
std::string_view Version();

}  // namespace msa::server
