#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "client/cli/msactl.h"

namespace msa::client {

// One run of msactl without a terminal.
struct Outcome {
  ExitCode code = kExitOk;
  std::string out;
  std::string err;
};

inline Outcome RunTool(const std::vector<std::string>& arguments, const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  Terminal terminal;
  terminal.in = &in;
  terminal.out = &out;
  terminal.err = &err;
  CommandContext context(terminal);
  context.retry.max_attempts = 1;
  Outcome outcome;
  outcome.code = RunMsactl(arguments, &context);
  outcome.out = out.str();
  outcome.err = err.str();
  return outcome;
}

}  // namespace msa::client
