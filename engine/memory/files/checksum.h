#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/types/span.h"

namespace msa::engine {

// XXH3-64, seed 0: finds damage, is no defence against forgery.
uint64_t Checksum(absl::Span<const std::byte> bytes);
uint64_t Checksum(std::string_view text);

// The same over bytes that come in pieces.
class RunningChecksum {
 public:
  RunningChecksum();
  ~RunningChecksum();
  void Add(absl::Span<const std::byte> bytes);
  uint64_t Value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace msa::engine
