#pragma once

#include <istream>
#include <ostream>

namespace msa::client {

// Where a command reads and writes. Data goes to `out`; progress, errors and remarks go to `err`.
// The streams must outlive it.
struct Terminal {
  std::istream* in = nullptr;
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  bool in_is_tty = false;
  bool err_is_tty = false;
};

}  // namespace msa::client
