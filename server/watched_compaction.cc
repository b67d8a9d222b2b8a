#include "server/watched_compaction.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

namespace msa::server {
namespace {

constexpr std::chrono::milliseconds kLookInterval{100};

// Outlives the call that waits.
struct Outcome {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<engine::Bank::CompactResult> result;
};

}  // namespace

absl::StatusOr<engine::Bank::CompactResult> CompactAndWatch(
    const std::shared_ptr<engine::Bank>& bank, engine::JobMonitor* monitor) {
  const auto outcome = std::make_shared<Outcome>();
  const int64_t total = bank->Stats().num_tombstones;
  bank->Compact([outcome](engine::Bank::CompactResult result) {
    const std::lock_guard lock(outcome->mutex);
    outcome->result = std::move(result);
    outcome->changed.notify_all();
  });
  std::unique_lock lock(outcome->mutex);
  while (!outcome->changed.wait_for(lock, kLookInterval,
                                    [&] { return outcome->result.has_value(); })) {
    lock.unlock();
    if (monitor->IsCancelled()) return absl::CancelledError("nobody waits for the compaction");
    // Documents that are deleted meanwhile must not make it go backwards.
    const int64_t done = std::max<int64_t>(total - bank->Stats().num_tombstones, 0);
    monitor->Progress({.phase = "segments", .unit = "documents", .done = done, .total = total});
    lock.lock();
  }
  if (!outcome->result->status.ok()) return outcome->result->status;
  return *outcome->result;
}

}  // namespace msa::server
