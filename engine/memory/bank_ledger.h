#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/memory/bank.h"
#include "engine/memory/shards/shard_assignment.h"

namespace msa::engine {

// What any thread may ask of a bank at any time: its settings, its counts, and which rank has which
// ACTIVE document. Written by the bank's thread.
class BankLedger {
 public:
  BankLedger(const BankSettings& settings, int num_shards);

  absl::Status write_failure() const;  // not ok: the bank is read-only
  void SetWriteFailure(const absl::Status& status);

  BankSettings settings() const;
  void SetSettings(const BankSettings& settings);
  BankStats stats() const;
  int RankOf(uint32_t number) const;  // -1: not ACTIVE

  void Change(absl::FunctionRef<void(BankStats&)> change);
  // Chooses a rank for a document that becomes ACTIVE, and counts it there.
  int Place(uint32_t number, int64_t num_chunks, int64_t num_tokens);
  // A document that was ACTIVE is so no more: it becomes a tombstone. Returns its rank.
  int Displace(uint32_t number, int64_t num_chunks, int64_t num_tokens);

 private:
  mutable std::mutex mutex_;
  // All under mutex_.
  absl::Status write_failure_;
  BankSettings settings_;
  BankStats stats_;
  ShardAssignment assignment_;
  absl::flat_hash_map<uint32_t, int> ranks_;
};

}  // namespace msa::engine
