#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "engine/memory/bank.h"

namespace msa::engine {

// Replies that wait: for a document to become ACTIVE, then for a revision to become visible. Every
// one is given exactly once, by the bank's thread and without locks.
class Acknowledgements {
 public:
  using Reply = absl::AnyInvocable<void(const absl::Status&)>;

  // For the document to become ACTIVE. `result` is what is known so far.
  void WhenActive(IngestResult result, Bank::IngestDone done);
  // The document is ACTIVE, or DELETED at once where a newer version was there first, from
  // `revision` on.
  void Activated(uint32_t number, DocumentState state, uint64_t revision);
  // It will not become ACTIVE (`state` says what it is now), or not soon.
  void Refused(uint32_t number, DocumentState state, const absl::Status& status);
  void AllRefused(const absl::Status& status);  // everything that waits for a document

  void WhenVisible(uint64_t revision, Reply reply);
  void Visible(uint64_t revision);  // gives the replies that are due

  // What still waits is UNAVAILABLE.
  void Stop();

  bool waits_for_revision() const { return !by_revision_.empty(); }

 private:
  struct Waiting {
    IngestResult result;
    Bank::IngestDone done;
  };
  absl::flat_hash_map<uint32_t, std::vector<Waiting>> by_number_;
  std::multimap<uint64_t, Reply> by_revision_;
};

}  // namespace msa::engine
