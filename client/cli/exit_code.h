#pragma once

#include "absl/status/status.h"

namespace msa::client {

// What msactl's exit says to scripts.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,         // the command line is wrong; nothing was sent
  kExitPartial = 3,       // some documents or questions went well, some did not
  kExitUnavailable = 4,   // no server, a server that is starting or stopping, or no answer in time
  kExitInterrupted = 130  // Ctrl-C
};

// Of a command that failed with `error`.
ExitCode ExitCodeOf(const absl::Status& error);

}  // namespace msa::client
