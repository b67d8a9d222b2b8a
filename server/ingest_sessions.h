#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "engine/memory/bank.h"

namespace msa::server {

// Up to which sequence number every document of one ingest stream has had its result. Its memory
// grows with the documents that wait, not with those that were answered. Not thread-safe.
class IngestProgress {
 public:
  // `start`: what was complete before the stream.
  explicit IngestProgress(std::optional<uint64_t> start) : last_received_(start) {}

  void Received(uint64_t sequence);  // ascending
  void Answered(uint64_t sequence);

  std::optional<uint64_t> complete_up_to() const;

 private:
  std::optional<uint64_t> last_received_;
  std::map<uint64_t, std::optional<uint64_t>> waiting_;  // with the one received before it
};

// How far the ingest sessions have come that were used last, for clients that open a stream again.
// A session belongs to one bank object: to a bank that was deleted and made again it is unknown, so
// that nobody passes over documents that are gone. Thread-safe.
class IngestSessions {
 public:
  explicit IngestSessions(size_t max_sessions) : max_sessions_(max_sessions) {}

  // Unset for a session that is not known.
  std::optional<uint64_t> Find(const std::shared_ptr<engine::Bank>& bank,
                               const std::string& session_id);

  // Never goes back: streams of one session may overlap.
  void Advance(const std::shared_ptr<engine::Bank>& bank, const std::string& session_id,
               uint64_t complete_up_to);

 private:
  struct Key {
    std::weak_ptr<engine::Bank> bank;  // compared by owner, which nothing else becomes meanwhile
    std::string session_id;
    bool operator<(const Key& other) const;
  };
  struct Session {
    Key key;
    uint64_t complete_up_to = 0;
  };

  const size_t max_sessions_;
  std::mutex mutex_;
  std::list<Session> sessions_;  // the one used last first
  std::map<Key, std::list<Session>::iterator> by_key_;
};

}  // namespace msa::server
