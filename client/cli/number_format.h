#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

// Numbers for people. JSON output holds raw numbers instead.
namespace msa::client {

std::string FormatCount(int64_t count);          // 1,234,567
std::string FormatBytes(int64_t bytes);          // 512 B, 1.5 KiB, 20.0 GiB
std::string FormatSeconds(absl::Duration time);  // 0.4 ms, 12.3 ms, 4.56 s, 3 min 5 s
std::string FormatNoun(int64_t count, const char* singular,
                       const char* plural);  // "1 document", "2,000 documents"

}  // namespace msa::client
