#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"

// Checks of option values whose errors say what is allowed: "--mode: is replace; allowed: insert,
// upsert".
namespace msa::client {

// One of the words; the option's variable gets the number beside it (an enum, or a bool as 0 and
// 1).
CLI::Validator OneOf(std::vector<std::pair<std::string, int>> words);

CLI::Validator AtLeast(double least);

CLI::Validator AtMostBytes(size_t most);

}  // namespace msa::client
