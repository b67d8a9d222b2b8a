#include "engine/memory/bank_ledger.h"

#include "kernels/core/check.h"

namespace msa::engine {

BankLedger::BankLedger(const BankSettings& settings, int num_shards)
    : settings_(settings), assignment_(num_shards) {
  stats_.shard_documents.resize(static_cast<size_t>(num_shards));
  stats_.shard_chunks.resize(static_cast<size_t>(num_shards));
}

absl::Status BankLedger::write_failure() const {
  const std::lock_guard lock(mutex_);
  return write_failure_;
}

void BankLedger::SetWriteFailure(const absl::Status& status) {
  const std::lock_guard lock(mutex_);
  write_failure_ = status;
}

BankSettings BankLedger::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

void BankLedger::SetSettings(const BankSettings& settings) {
  const std::lock_guard lock(mutex_);
  settings_ = settings;
}

BankStats BankLedger::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

int BankLedger::RankOf(uint32_t number) const {
  const std::lock_guard lock(mutex_);
  const auto found = ranks_.find(number);
  return found == ranks_.end() ? -1 : found->second;
}

void BankLedger::Change(absl::FunctionRef<void(BankStats&)> change) {
  const std::lock_guard lock(mutex_);
  change(stats_);
}

int BankLedger::Place(uint32_t number, int64_t num_chunks, int64_t num_tokens) {
  const std::lock_guard lock(mutex_);
  const int rank = assignment_.Assign(num_chunks);
  ranks_[number] = rank;
  stats_.num_documents += 1;
  stats_.num_chunks += num_chunks;
  stats_.num_tokens += num_tokens;
  stats_.shard_documents[static_cast<size_t>(rank)] += 1;
  stats_.shard_chunks[static_cast<size_t>(rank)] += num_chunks;
  return rank;
}

int BankLedger::Displace(uint32_t number, int64_t num_chunks, int64_t num_tokens) {
  const std::lock_guard lock(mutex_);
  const auto found = ranks_.find(number);
  MSA_CHECK(found != ranks_.end(), "an ACTIVE document has a rank");
  const int rank = found->second;
  ranks_.erase(found);
  stats_.num_documents -= 1;
  stats_.num_chunks -= num_chunks;
  stats_.num_tokens -= num_tokens;
  stats_.num_tombstones += 1;
  stats_.shard_documents[static_cast<size_t>(rank)] -= 1;
  stats_.shard_chunks[static_cast<size_t>(rank)] -= num_chunks;
  return rank;
}

}  // namespace msa::engine
