#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/server_metrics.h"

namespace msa::server {

// The engine's observer: counts what happens, as ServerMetrics, and logs what is wrong with a bank.
// Thread-safe.
class ProblemLog : public ServerMetrics {
 public:
  // One line, an error: bank, reason, message, and the facts of its detail. A full disk, which
  // passes, is a warning.
  void ProblemFound(const std::string& bank, const absl::Status& problem) override;
};

}  // namespace msa::server
