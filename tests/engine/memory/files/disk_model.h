#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/engine/memory/files/file_operation.h"

namespace msa::engine {

// One way in which the power may go. What is not synced is in the disk's hands: of every block of a
// file (`block_bytes`) any state since the last sync may be there, and the same goes for a file's
// size, but a file is cut as a whole or not at all; of a directory's entries any of the changes
// since its last sync.
struct PowerLoss {
  enum class Way {
    kUnsyncedLost,
    kUnsyncedKept,
    kLastWriteTorn,   // kept but for the end of the last write, from a block's border on
    kOnlyNamesKept,   // entries of directories, not what is in files
    kOnlyBytesKept,   // the reverse
    kEachFileBefore,  // every file and directory as it was at some time since its last sync
    kAnyBlocks,       // every block and every entry for itself
  };
  Way way = Way::kUnsyncedLost;
  uint64_t block_bytes = 512;
  uint64_t seed = 0;
};

// What of a file system is durable, and what is not yet. Takes its operations in their order. A new
// entry is durable when its directory is synced, bytes and size are when their file is; neither
// stands in for the other. Copies are cheap.
class DiskModel {
 public:
  DiskModel();  // an empty root

  void Apply(std::shared_ptr<const FileOperation> operation);
  DiskImage After(const PowerLoss& loss) const;

 private:
  using Operations = std::vector<std::shared_ptr<const FileOperation>>;
  using Entries = std::map<std::string, uint64_t>;

  struct File {
    std::shared_ptr<const std::string> durable;
    Operations unsynced;
  };
  struct Directory {
    Entries durable;
    Operations unsynced;
  };

  static void Change(const FileOperation& operation, Entries* entries);
  Entries EntriesAfter(uint64_t node, const PowerLoss& loss) const;
  std::shared_ptr<const std::string> BytesAfter(uint64_t node, const PowerLoss& loss) const;
  void Walk(uint64_t node, const std::string& path, const PowerLoss& loss, DiskImage* image) const;

  std::map<uint64_t, File> files_;
  std::map<uint64_t, Directory> directories_;
  std::shared_ptr<const FileOperation> last_write_;  // null once it is synced
};

}  // namespace msa::engine
