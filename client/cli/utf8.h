#pragma once

#include <cstddef>
#include <string>
#include <string_view>

// What a command line needs of UTF-8: to refuse what is not, to cut between characters, to align
// columns.
namespace msa::client {

// Position of the first byte that is not part of well-formed UTF-8 (no overlong forms, no
// surrogates, at most U+10FFFF); npos when all is well.
size_t FirstInvalidUtf8Byte(std::string_view text);

// The largest character border at or before `position`; text.size() when `position` is beyond it.
// `text` must be well-formed.
size_t CharacterBorderAtOrBefore(std::string_view text, size_t position);

// Characters (code points) of well-formed text: the columns it takes on a terminal, but for wide
// and combining ones.
size_t NumCharacters(std::string_view text);

// At most `max_characters` characters on one line: line breaks and control characters become
// spaces, and what was cut is marked by "…" as the last character.
std::string OneLine(std::string_view text, size_t max_characters);

}  // namespace msa::client
