#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/memory/files/file_system.h"

namespace msa::engine {

// SQLite over a FileSystem: database, WAL and journal files go through it. What connections of one
// database share (file locks and the WAL index) is kept in this process, and a lock on the file
// keeps other SQLite programs out ("database is locked") while it is open here. Temporary
// files are made in a directory of their own, under names that start with kTemporaryPrefix; what a
// process left there when it ended may be removed. Thread-safe.
class CatalogVfs {
 public:
  static constexpr std::string_view kTemporaryPrefix = ".temporary-";

  // `files` must outlive this, this every connection.
  CatalogVfs(FileSystem* files, const std::string& temporary_directory);
  ~CatalogVfs();
  CatalogVfs(const CatalogVfs&) = delete;
  CatalogVfs& operator=(const CatalogVfs&) = delete;

  const std::string& name() const;  // for sqlite3_open_v2
  FileSystem* file_system() const;

  struct State;

 private:
  const std::unique_ptr<State> state_;
};

}  // namespace msa::engine
