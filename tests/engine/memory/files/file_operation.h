#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace msa::engine {

// One change of a SimulatedFileSystem, or a sync. Files and directories go by the number of their
// node, which stays when they are renamed; 0 is the root.
struct FileOperation {
  enum class Kind {
    kMakeFile,
    kMakeDirectory,
    kRename,  // within `directory`, over what has the new name
    kRemove,
    kSyncDirectory,
    kWrite,
    kTruncate,
    kSync,
    kFailedSync,  // as on Linux: what was not synced by then is never written, though it can be read
  };
  Kind kind = Kind::kWrite;
  uint64_t node = 0;       // made, renamed, removed, written or synced
  uint64_t directory = 0;  // that has the entry, of the first four kinds but the sync
  std::string name;        // there
  std::string new_name;    // kRename
  uint64_t offset = 0;     // kWrite; of kTruncate the new size
  std::string bytes;       // kWrite
};

// What a disk holds, by path.
struct DiskImage {
  std::set<std::string> directories;
  std::map<std::string, std::shared_ptr<const std::string>> files;
};

}  // namespace msa::engine
