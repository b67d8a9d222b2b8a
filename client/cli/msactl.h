#pragma once

#include <string>
#include <vector>

#include "client/cli/command_context.h"

namespace msa::client {

// msactl without its process: parses `arguments` (without the program's name) and runs the command.
// Prints help, version and usage errors itself. Use the context once.
ExitCode RunMsactl(const std::vector<std::string>& arguments, CommandContext* context);

}  // namespace msa::client
