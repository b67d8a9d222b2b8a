#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/memory/bank.h"
#include "engine/memory/job_monitor.h"

namespace msa::server {

// Compacts the bank and waits for it. How far it has come is seen from outside: by the deleted
// documents that are still there. CANCELLED as soon as the monitor says so; the compaction goes on.
absl::StatusOr<engine::Bank::CompactResult> CompactAndWatch(
    const std::shared_ptr<engine::Bank>& bank, engine::JobMonitor* monitor);

}  // namespace msa::server
