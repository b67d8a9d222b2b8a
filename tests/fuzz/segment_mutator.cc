#include <algorithm>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/segment_repair.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  std::minstd_rand random(seed);
  if (random() % 8 == 0) return size;
  auto* const begin = reinterpret_cast<std::byte*>(data);
  std::vector<std::byte> bytes(begin, begin + size);
  msa::engine::RepairSegment(&random, max_size, &bytes);
  std::copy(bytes.begin(), bytes.end(), begin);
  return bytes.size();
}
