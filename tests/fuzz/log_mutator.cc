#include <cstddef>
#include <random>

#include "tests/fuzz/fuzz_target.h"

namespace {

uint32_t Load(const uint8_t* at, bool big_endian = true) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | at[big_endian ? i : 3 - i];
  return value;
}

void Store(uint32_t value, uint8_t* at) {
  for (size_t i = 0; i < 4; ++i) at[i] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

struct LogSum {
  uint32_t first = 0;
  uint32_t second = 0;

  void Add(const uint8_t* data, size_t size, bool big_endian) {
    for (size_t i = 0; i + 8 <= size; i += 8) {
      first += Load(data + i, big_endian) + second;
      second += Load(data + i + 4, big_endian) + first;
    }
  }
  void StoreAt(uint8_t* at) const {
    Store(first, at);
    Store(second, at + 4);
  }
};

// Header and most frames get right salts and checksums (sqlite.org/fileformat2.html#walformat).
void Repair(std::minstd_rand* random, uint8_t* data, size_t size) {
  constexpr size_t kHeaderBytes = 32;
  constexpr size_t kFrameHeaderBytes = 24;
  if (size < kHeaderBytes) return;
  if ((*random)() % 16 != 0) Store(0x377f0682u | (data[3] & 1u), data);
  if ((*random)() % 16 != 0) Store(512, data + 8);
  const bool big_endian = (data[3] & 1) != 0;
  LogSum sum;
  sum.Add(data, 24, big_endian);
  sum.StoreAt(data + 24);
  const size_t page_bytes = Load(data + 8);
  if (page_bytes < 512 || page_bytes > size) return;
  for (size_t at = kHeaderBytes; at + kFrameHeaderBytes + page_bytes <= size;
       at += kFrameHeaderBytes + page_bytes) {
    uint8_t* const frame = data + at;
    if ((*random)() % 8 == 0) {  // a frame that stays wrong; the next one goes on from it
      sum = {Load(frame + 16), Load(frame + 20)};
      continue;
    }
    if (Load(frame) == 0) Store(1, frame);
    for (size_t i = 0; i < 8; ++i) frame[8 + i] = data[16 + i];
    sum.Add(frame, 8, big_endian);
    sum.Add(frame + kFrameHeaderBytes, page_bytes, big_endian);
    sum.StoreAt(frame + 16);
  }
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  std::minstd_rand random(seed);
  if (random() % 8 != 0) Repair(&random, data, size);
  return size;
}
