#include "engine/memory/files/durable_directories.h"

#include <vector>

#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

absl::Status MakeDirectoriesDurably(FileSystem* files, const std::string& path) {
  struct Directory {
    std::string parent;
    bool is_new = false;
  };
  std::vector<Directory> directories;
  for (std::string made = path; ParentOf(made) != made; made = ParentOf(made)) {
    directories.push_back({ParentOf(made), !files->Exists(made)});
  }
  MSA_RETURN_IF_ERROR(files->CreateDirectories(path));
  for (const Directory& directory : directories) {
    const absl::Status synced = files->SyncDirectory(directory.parent);
    // What is far above may belong to others, who let nobody read it.
    if (directory.is_new) MSA_RETURN_IF_ERROR(synced);
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
