#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/memory/files/file_system.h"

namespace msa::engine {

// What the connections of one SQLite database share inside this process: the locks of its main file
// and the WAL index with its eight locks (https://www.sqlite.org/walformat.html). Nothing blocks: a
// lock is had at once or not at all. Thread-safe.
class SharedDatabase {
 public:
  static constexpr int kNumIndexLocks = 8;

  // One connection's locks.
  struct Connection {
    int level = 0;                                     // SQLITE_LOCK_NONE ... SQLITE_LOCK_EXCLUSIVE
    std::array<int, kNumIndexLocks> index_locks = {};  // 0 none, 1 shared, 2 exclusive
  };

  explicit SharedDatabase(std::unique_ptr<FileLock> file_lock);

  // The main file: any number of readers, one writer, one that excludes all.
  bool Lock(Connection* connection, int level);
  void Unlock(Connection* connection, int level);
  bool IsReserved();

  // The WAL index, in regions; null where a region is not there and `extend` is not set.
  void* Region(size_t index, size_t size, bool extend);
  bool LockIndex(Connection* connection, int first, int count, bool exclusive);
  void UnlockIndex(Connection* connection, int first, int count);
  void Barrier();

  // Gives up everything the connection holds.
  void Leave(Connection* connection);

 private:
  void SetLevel(Connection* connection, int level);

  const std::unique_ptr<FileLock> file_lock_;
  std::mutex mutex_;
  int num_shared_ = 0;    // connections with at least SHARED
  int num_reserved_ = 0;  // of them with at least RESERVED
  int num_exclusive_ = 0;
  std::array<int, kNumIndexLocks> num_index_shared_ = {};
  std::array<int, kNumIndexLocks> num_index_exclusive_ = {};
  std::vector<std::unique_ptr<std::byte[]>> regions_;
};

}  // namespace msa::engine
