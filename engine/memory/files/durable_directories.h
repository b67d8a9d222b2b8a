#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/memory/files/file_system.h"

namespace msa::engine {

// Makes a directory and all above it, and syncs their entries; those that are there already too,
// since who made them may have been killed before that.
absl::Status MakeDirectoriesDurably(FileSystem* files, const std::string& path);

}  // namespace msa::engine
