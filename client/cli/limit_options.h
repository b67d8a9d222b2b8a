#pragma once

#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "msa/v1/limits.pb.h"

namespace msa::client {

// The bounds of one answer, as options of `command` that go into `limits()` when they are given.
// `otherwise` stands before the default in the help.
void AddLimitOptions(CLI::App* command, const std::string& group, const std::string& otherwise,
                     const std::function<v1::GenerationLimits*()>& limits);

}  // namespace msa::client
