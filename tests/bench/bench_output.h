#pragma once

#include <string>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

// How the benchmarks end: with results in a file, or with a message.
namespace msa::bench {

// Ends the program with a message on stderr and status 1.
[[noreturn]] void Stop(const std::string& message);

// Stops unless it is OK.
void CheckOk(const absl::Status& status);

// An empty path: nothing is written. Stops where the file cannot be written.
void WriteJson(const std::string& path, const nlohmann::ordered_json& results);

}  // namespace msa::bench
