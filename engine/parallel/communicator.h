#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace msa::engine {

// The collectives between ranks, as one rank sees them. Every rank calls the same verbs in the same
// order, as the step plan lists them; a rank whose work failed still joins, with the sizes that the
// plan says. Waits block, they do not spin. Fetching the winners' content needs no verb of its own
// while all ranks live in one process: it is a copy from the owner's memory.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Everyone's `send`, in rank order, once all ranks have called. The views stay valid until this
  // rank's next collective. ABORTED, with the reason, after Abort.
  virtual absl::Status AllGather(absl::Span<const std::byte> send,
                                 std::vector<absl::Span<const std::byte>>* received) = 0;

  // Wakes every rank that waits in a collective, now and later. Thread-safe.
  virtual void Abort(const absl::Status& reason) = 0;
};

}  // namespace msa::engine
