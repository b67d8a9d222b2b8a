#pragma once

#include <cstdint>
#include <string>

namespace msa::engine {

// What the owner of a bank chooses.
struct BankSettings {
  std::string display_name;
  // Most tokens of ACCEPTED and ACTIVE documents and of tombstones; 0: no limit.
  int64_t token_budget = 0;
};

}  // namespace msa::engine
