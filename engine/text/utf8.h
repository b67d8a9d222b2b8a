#pragma once

#include <cstddef>
#include <string>
#include <string_view>

// UTF-8 that may be broken. Well-formed is what the Unicode Standard's table 3-7 calls so: no
// surrogates, no overlong forms, nothing above U+10FFFF.
namespace msa::engine {

// What stands at the front of some bytes.
struct Utf8Sequence {
  enum class Kind {
    kCharacter,  // one whole character
    kInvalid,    // bytes that no continuation can save; one U+FFFD stands for all `length` of them
    kCutOff,     // the bytes end inside what may still become a character
  };
  Kind kind = Kind::kInvalid;
  size_t length =
      1;  // bytes, at least 1; for kInvalid the "maximal subpart" (Unicode Standard, section 3.9)
};

// `bytes` must not be empty.
Utf8Sequence FirstUtf8Sequence(std::string_view bytes);

// Where the first byte is that is not part of a whole character; npos when all is well-formed.
size_t FindInvalidUtf8(std::string_view bytes);

// `bytes` with U+FFFD for every broken sequence, a cut-off one at the end included: what Python's
// bytes.decode("utf-8", "replace") and Rust's String::from_utf8_lossy give.
std::string ReplaceInvalidUtf8(std::string_view bytes);

}  // namespace msa::engine
