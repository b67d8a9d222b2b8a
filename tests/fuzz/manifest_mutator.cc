#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_format.h"
#include "engine/memory/files/checksum.h"
#include "tests/fuzz/fuzz_target.h"

// Mutates the text and mostly writes its checksum behind it.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  constexpr size_t kChecksumBytes = 17;
  if (seed % 16 == 0 || max_size <= kChecksumBytes) return LLVMFuzzerMutate(data, size, max_size);
  size = LLVMFuzzerMutate(data, size - std::min(size, kChecksumBytes), max_size - kChecksumBytes);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string line = absl::StrFormat("%016x\n", msa::engine::Checksum(text));
  std::copy(line.begin(), line.end(), data + size);
  return size + kChecksumBytes;
}
