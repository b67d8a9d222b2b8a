#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/catalog/catalog.h"
#include "engine/memory/catalog/catalog_vfs.h"

namespace msa::engine {

// The directories of a store's banks, DATA_DIR/banks/NAME. A bank is made under another name and
// renamed, and renamed before it is removed, so that it is there as a whole or not at all.
// Thread-safe, but for two calls that concern the same bank at the same time.
class BankDirectories {
 public:
  // `vfs` must outlive this.
  BankDirectories(const std::string& data_dir, const CatalogVfs* vfs)
      : data_dir_(data_dir), banks_(data_dir + "/banks"), vfs_(vfs) {}

  // Makes the directory of all banks, ends what was begun before the process ended, and removes
  // what was not finished.
  absl::Status Recover();
  absl::StatusOr<std::vector<std::string>> List() const;  // names of banks, ascending

  std::string PathOf(const std::string& name) const;
  std::string CatalogOf(const std::string& name) const;
  bool Exists(const std::string& name) const;

  // A new bank without documents.
  absl::Status Create(const std::string& name, const CatalogSettings& settings);
  // A bank whose files `fill(directory)` puts into an empty directory; they are of another name or
  // of this one.
  absl::Status CreateFrom(const std::string& name,
                          absl::FunctionRef<absl::Status(const std::string& directory)> fill);

  // Where `name` is built anew while the one that is there serves: an empty directory for a bank of
  // these settings.
  absl::StatusOr<std::string> BeginReplacement(const std::string& name,
                                               const CatalogSettings& settings);
  // Also one that was committed and not finished.
  absl::Status DiscardReplacement(const std::string& name);
  // The replacement is complete and closed: from here on it counts, also after a restart.
  absl::Status CommitReplacement(const std::string& name);
  // It takes the place of the bank, which is closed; what is left of that goes.
  absl::Status FinishReplacement(const std::string& name);

  // Under which a bank goes; renaming it is the caller's, so is SyncParent.
  std::string NewRemovedPath(const std::string& name);
  absl::Status SyncParent();

 private:
  FileSystem* files() const { return vfs_->file_system(); }
  absl::Status MakeCatalog(const std::string& directory, const CatalogSettings& settings);

  const std::string data_dir_;
  const std::string banks_;
  const CatalogVfs* const vfs_;
  std::mutex mutex_;
  int64_t num_removed_ = 0;  // under mutex_
};

}  // namespace msa::engine
