#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/catalog/catalog_vfs.h"

namespace msa::engine {

// A prepared statement: bind, then Step until there are no more rows. It is rewound when the object
// goes. Parameters and columns count from 1 and 0, as SQLite's do.
class SqliteStatement {
 public:
  SqliteStatement(sqlite3_stmt* statement, const std::string* path);
  ~SqliteStatement();
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&&) = delete;

  // Views must live until the last Step.
  SqliteStatement& Bind(int parameter, int64_t value);
  SqliteStatement& Bind(int parameter, uint64_t value);  // its bits, as a signed number
  SqliteStatement& Bind(int parameter, std::string_view value);

  absl::StatusOr<bool> Step();  // whether there is a row
  absl::Status Run();           // for statements without rows

  int64_t Int(int column) const;
  uint64_t Bits(int column) const;
  std::string Text(int column) const;
  bool IsText(int column) const;  // not a blob of the same bytes, which equals no text

 private:
  sqlite3_stmt* statement_;
  const std::string* path_;
};

// One connection to a database, not thread-safe. Errors name the file: RESOURCE_EXHAUSTED
// (DISK_FULL), DATA_LOSS where the file is damaged or none, UNAVAILABLE on I/O errors,
// FAILED_PRECONDITION where it cannot be opened or is locked.
class SqliteConnection {
 public:
  // With WAL, synchronous = FULL and secure_delete.
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(const CatalogVfs& vfs,
                                                                const std::string& path,
                                                                bool create);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // `sql` has static storage: prepared statements are kept by its address. One use of a statement
  // at a time.
  absl::StatusOr<SqliteStatement> Prepare(const char* sql);
  absl::Status Execute(const char* sql);  // any number of statements without parameters

 private:
  explicit SqliteConnection(std::string path);
  absl::Status StatusOf(int code) const;

  const std::string path_;
  sqlite3* database_ = nullptr;
  absl::flat_hash_map<const char*, sqlite3_stmt*> statements_;
};

}  // namespace msa::engine
