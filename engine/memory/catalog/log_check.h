#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/memory/files/file_system.h"

namespace msa::engine {

// Reads the write-ahead log beside a database that nobody has open. SQLite takes the first frame
// that is wrong for the end of the log and drops what follows without a word. That is right where
// the power went while a transaction was written, which is then the last one: the next is written
// when that one is synced. Where the end of a later one follows, or the log's header is wrong, the
// log is damaged and synced transactions would be lost: DATA_LOSS names the file and the place.
// Damage in the last transaction cannot be told from a power loss. Ok where there is no log.
absl::Status CheckLog(FileSystem* files, const std::string& path);

}  // namespace msa::engine
