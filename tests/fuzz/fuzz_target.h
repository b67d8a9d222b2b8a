#pragma once

#include <cstddef>
#include <cstdint>

// What libFuzzer calls and replay_main.cc calls for the files of a corpus. One of each per program.
// A wrong result ends the process by MSA_CHECK.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// libFuzzer's own mutator, for mutators that repair what it did.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed);
