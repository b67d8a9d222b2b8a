#include "kernels/core/check.h"

#include <cstdio>
#include <cstdlib>

namespace msa::kernels {

void CheckFailed(std::string_view condition, std::string_view message,
                 const std::source_location& where) {
  std::fprintf(stderr, "%s:%u: check failed: %.*s (%.*s)\n", where.file_name(),
               static_cast<unsigned>(where.line()), static_cast<int>(condition.size()),
               condition.data(), static_cast<int>(message.size()), message.data());
  std::abort();
}

}  // namespace msa::kernels
