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
  std::vector<std::string> parents = {ParentOf(path)};
  while (ParentOf(parents.back()) != parents.back() && !files->Exists(parents.back())) {
    parents.push_back(ParentOf(parents.back()));
  }
  MSA_RETURN_IF_ERROR(files->CreateDirectories(path));
  for (const std::string& parent : parents) {
    const absl::Status synced = files->SyncDirectory(parent);
    // Not everybody may read the directory above his own.
    if (!absl::IsFailedPrecondition(synced)) MSA_RETURN_IF_ERROR(synced);
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
