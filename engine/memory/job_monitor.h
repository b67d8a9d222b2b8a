#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace msa::engine {

struct JobProgress {
  std::string_view phase;  // "catalog", "segments", "documents"; static storage
  std::string_view unit;   // "bytes", "documents"
  int64_t done = 0;
  int64_t total = 0;  // 0: not known
  int64_t bytes = 0;  // read or written since the job began, about
};

// Whoever waits for a long job. Called on the job's thread, often; may hold it up, as a pace.
class JobMonitor {
 public:
  virtual ~JobMonitor() = default;
  virtual void Progress(const JobProgress& progress) = 0;
  virtual bool IsCancelled() const = 0;  // then the job ends with CANCELLED
};

inline absl::Status CheckCancelled(const JobMonitor& monitor) {
  return monitor.IsCancelled() ? absl::CancelledError("the job was cancelled") : absl::OkStatus();
}

}  // namespace msa::engine
