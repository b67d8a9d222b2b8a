#pragma once

#include <cstdlib>

namespace msa::engine {

// Whether tests that have a short and a long form run the long one, which takes minutes
// (MSA_LONG_TESTS=1).
inline bool IsLongForm() { return std::getenv("MSA_LONG_TESTS") != nullptr; }

}  // namespace msa::engine
