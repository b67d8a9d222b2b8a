#include "server/ingest_sessions.h"

#include <algorithm>

namespace msa::server {

void IngestProgress::Received(uint64_t sequence) {
  waiting_.emplace(sequence, last_received_);
  last_received_ = sequence;
}

void IngestProgress::Answered(uint64_t sequence) { waiting_.erase(sequence); }

std::optional<uint64_t> IngestProgress::complete_up_to() const {
  return waiting_.empty() ? last_received_ : waiting_.begin()->second;
}

bool IngestSessions::Key::operator<(const Key& other) const {
  if (bank.owner_before(other.bank)) return true;
  if (other.bank.owner_before(bank)) return false;
  return session_id < other.session_id;
}

std::optional<uint64_t> IngestSessions::Find(const std::shared_ptr<engine::Bank>& bank,
                                             const std::string& session_id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find({bank, session_id});
  if (found == by_key_.end()) return std::nullopt;
  sessions_.splice(sessions_.begin(), sessions_, found->second);
  return found->second->complete_up_to;
}

void IngestSessions::Advance(const std::shared_ptr<engine::Bank>& bank,
                             const std::string& session_id, uint64_t complete_up_to) {
  const std::lock_guard lock(mutex_);
  const Key key{bank, session_id};
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    Session& session = *found->second;
    session.complete_up_to = std::max(session.complete_up_to, complete_up_to);
    sessions_.splice(sessions_.begin(), sessions_, found->second);
    return;
  }
  if (sessions_.size() >= max_sessions_) {
    by_key_.erase(sessions_.back().key);
    sessions_.pop_back();
  }
  sessions_.push_front({key, complete_up_to});
  by_key_[key] = sessions_.begin();
}

}  // namespace msa::server
