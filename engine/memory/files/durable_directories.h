#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/memory/files/file_system.h"

namespace msa::engine {

// Makes a directory and all above it that are not there, and syncs the entries of those; its own
// also where it is there, since who made it may have been killed before.
absl::Status MakeDirectoriesDurably(FileSystem* files, const std::string& path);

}  // namespace msa::engine
