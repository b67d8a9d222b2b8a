#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace msa::server {

// Whether `text` is UTF-8 as the standard defines it: shortest forms, no surrogates, at most
// U+10FFFF.
bool IsUtf8(std::string_view text);

// `text` as valid UTF-8 of at most `max_bytes`: wrong bytes become '?', the end is cut between
// characters.
std::string ToSafeUtf8(std::string_view text, size_t max_bytes);

}  // namespace msa::server
