#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/options.h"

namespace msa::server {

// What `msa-server` was asked to do. Each option is taken from the first of: flag, environment,
// file, default.
struct CommandLine {
  enum class Action { kServe, kPrintHelp, kPrintVersion, kPrintConfig, kCheckConfig };
  Action action = Action::kServe;
  ServerOptions options;
  std::map<std::string, std::string>
      sources;       // option name -> "flag", "environment", "file"; absent: default
  std::string help;  // for kPrintHelp
};

// `arguments` without the program's name; `environment` as NAME=VALUE. INVALID_ARGUMENT, one line:
// an unknown flag, key or MSA_SECTION__KEY variable (with the nearest known one), a wrong value, a
// file that cannot be read.
absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments,
                                             const std::vector<std::string>& environment);

// The options as a configuration file, with each one's source as a comment.
std::string FormatConfig(const CommandLine& command_line);

}  // namespace msa::server
