#include "engine/memory/acknowledgements.h"

#include <utility>

#include "kernels/core/refusal.h"

namespace msa::engine {

void Acknowledgements::Stop() {
  const absl::Status stopping = kernels::Refusal(
      absl::StatusCode::kUnavailable,
      "the bank stops before queries see this; what was accepted is kept", "STOPPING");
  AllRefused(stopping);
  for (auto& [revision, reply] : std::exchange(by_revision_, {})) reply(stopping);
}

void Acknowledgements::WhenActive(IngestResult result, Bank::IngestDone done) {
  by_number_[result.number].push_back({std::move(result), std::move(done)});
}

void Acknowledgements::Activated(uint32_t number, DocumentState state, uint64_t revision) {
  auto node = by_number_.extract(number);
  if (node.empty()) return;
  for (Waiting& waiting : node.mapped()) {
    waiting.result.state = state;
    waiting.result.revision = revision;
    WhenVisible(revision, [result = std::move(waiting.result),
                           done = std::move(waiting.done)](const absl::Status& status) mutable {
      result.status = status;
      done(std::move(result));
    });
  }
}

void Acknowledgements::Refused(uint32_t number, DocumentState state, const absl::Status& status) {
  auto node = by_number_.extract(number);
  if (node.empty()) return;
  for (Waiting& waiting : node.mapped()) {
    waiting.result.state = state;
    waiting.result.status = status;
    waiting.done(std::move(waiting.result));
  }
}

void Acknowledgements::AllRefused(const absl::Status& status) {
  for (auto& [number, all] : std::exchange(by_number_, {})) {
    for (Waiting& waiting : all) {
      waiting.result.status = status;
      waiting.done(std::move(waiting.result));
    }
  }
}

void Acknowledgements::WhenVisible(uint64_t revision, Reply reply) {
  by_revision_.emplace(revision, std::move(reply));
}

void Acknowledgements::Visible(uint64_t revision) {
  std::vector<Reply> due;
  const auto end = by_revision_.upper_bound(revision);
  for (auto it = by_revision_.begin(); it != end; ++it) due.push_back(std::move(it->second));
  by_revision_.erase(by_revision_.begin(), end);
  for (Reply& reply : due) reply(absl::OkStatus());
}

}  // namespace msa::engine
