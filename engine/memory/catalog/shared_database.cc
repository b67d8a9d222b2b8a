#include "engine/memory/catalog/shared_database.h"

#include <sqlite3.h>

#include "kernels/core/check.h"

namespace msa::engine {

static_assert(SharedDatabase::kNumIndexLocks == SQLITE_SHM_NLOCK);

SharedDatabase::SharedDatabase(std::unique_ptr<FileLock> file_lock)
    : file_lock_(std::move(file_lock)) {}

bool SharedDatabase::Lock(Connection* connection, int level) {
  const std::lock_guard lock(mutex_);
  if (connection->level >= level) return true;
  const bool others_reserve =
      num_reserved_ - (connection->level >= SQLITE_LOCK_RESERVED ? 1 : 0) > 0;
  const bool others_share = num_shared_ - (connection->level >= SQLITE_LOCK_SHARED ? 1 : 0) > 0;
  if (num_exclusive_ > 0) return false;
  if (level >= SQLITE_LOCK_RESERVED && others_reserve) return false;
  if (level >= SQLITE_LOCK_EXCLUSIVE && others_share) return false;
  SetLevel(connection, level);
  return true;
}

void SharedDatabase::Unlock(Connection* connection, int level) {
  const std::lock_guard lock(mutex_);
  if (connection->level > level) SetLevel(connection, level);
}

void SharedDatabase::SetLevel(Connection* connection, int level) {
  const auto count = [&](int at_least) {
    return (level >= at_least ? 1 : 0) - (connection->level >= at_least ? 1 : 0);
  };
  num_shared_ += count(SQLITE_LOCK_SHARED);
  num_reserved_ += count(SQLITE_LOCK_RESERVED);
  num_exclusive_ += count(SQLITE_LOCK_EXCLUSIVE);
  connection->level = level;
}

bool SharedDatabase::IsReserved() {
  const std::lock_guard lock(mutex_);
  return num_reserved_ > 0;
}

void* SharedDatabase::Region(size_t index, size_t size, bool extend) {
  const std::lock_guard lock(mutex_);
  if (index >= regions_.size() && !extend) return nullptr;
  while (regions_.size() <= index) regions_.push_back(std::make_unique<std::byte[]>(size));
  return regions_[index].get();
}

bool SharedDatabase::LockIndex(Connection* connection, int first, int count, bool exclusive) {
  const std::lock_guard lock(mutex_);
  const auto begin = static_cast<size_t>(first);
  const auto end = begin + static_cast<size_t>(count);
  MSA_CHECK(end <= kNumIndexLocks, "WAL index lock");
  for (size_t i = begin; i < end; ++i) {
    const int own = connection->index_locks[i];
    if (num_index_exclusive_[i] - (own == 2 ? 1 : 0) > 0) return false;
    if (exclusive && num_index_shared_[i] - (own == 1 ? 1 : 0) > 0) return false;
  }
  for (size_t i = begin; i < end; ++i) {
    int& own = connection->index_locks[i];
    if (own != 0) continue;
    own = exclusive ? 2 : 1;
    ++(exclusive ? num_index_exclusive_ : num_index_shared_)[i];
  }
  return true;
}

void SharedDatabase::UnlockIndex(Connection* connection, int first, int count) {
  const std::lock_guard lock(mutex_);
  const auto begin = static_cast<size_t>(first);
  for (size_t i = begin; i < begin + static_cast<size_t>(count); ++i) {
    int& own = connection->index_locks[i];
    if (own == 2) --num_index_exclusive_[i];
    if (own == 1) --num_index_shared_[i];
    own = 0;
  }
}

void SharedDatabase::Barrier() { const std::lock_guard lock(mutex_); }

void SharedDatabase::Leave(Connection* connection) {
  Unlock(connection, SQLITE_LOCK_NONE);
  UnlockIndex(connection, 0, kNumIndexLocks);
}

}  // namespace msa::engine
