#pragma once

#include <source_location>
#include <string_view>

// A broken invariant of this program (never a bad request or file: those return a status). Prints
// the condition and the place to stderr and aborts.
namespace msa::kernels {

[[noreturn]] void CheckFailed(std::string_view condition, std::string_view message,
                              const std::source_location& where);

}  // namespace msa::kernels

#define MSA_CHECK(condition, message)                                                    \
  do {                                                                                   \
    if (!(condition)) [[unlikely]]                                                       \
      ::msa::kernels::CheckFailed(#condition, message, std::source_location::current()); \
  } while (false)
