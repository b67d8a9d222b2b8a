#include "engine/memory/files/checksum.h"

#define XXH_STATIC_LINKING_ONLY  // the state's size, to hold one by value
#include <xxhash.h>

namespace msa::engine {

uint64_t Checksum(absl::Span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

uint64_t Checksum(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

struct RunningChecksum::State {
  XXH3_state_t xxh;
};

RunningChecksum::RunningChecksum() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(&state_->xxh);
}

RunningChecksum::~RunningChecksum() = default;

void RunningChecksum::Add(absl::Span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_64bits_update(&state_->xxh, bytes.data(), bytes.size());
}

uint64_t RunningChecksum::Value() const { return XXH3_64bits_digest(&state_->xxh); }

}  // namespace msa::engine
