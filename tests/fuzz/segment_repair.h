#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/memory/documents/encoded_document.h"

namespace msa::engine {

inline constexpr uint64_t kFuzzSegmentId = 7;
MemoryGeometry FuzzGeometry();

// Random damage seldom has a right checksum. Makes most of what a reader checks first right again
// (header, offsets, size, table, checksums), each with some probability, so that what stands behind
// is reached. `bytes` grows to `max_bytes` at most.
void RepairSegment(std::minstd_rand* random, size_t max_bytes, std::vector<std::byte>* bytes);

}  // namespace msa::engine
