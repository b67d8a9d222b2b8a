#pragma once

#include <cstdint>

namespace msa::engine {

// While it lives, documents of this revision stay readable (text and arrays), also when they are
// deleted meanwhile.
class BankPin {
 public:
  virtual ~BankPin() = default;
  virtual uint64_t revision() const = 0;
};

}  // namespace msa::engine
