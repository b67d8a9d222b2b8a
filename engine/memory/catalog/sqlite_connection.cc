#include "engine/memory/catalog/sqlite_connection.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

absl::Status SqliteStatus(int code, const std::string& path, const char* message) {
  const std::string text = absl::StrCat(path, ": ", message);
  switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
      return absl::OkStatus();
    case SQLITE_FULL:
      return kernels::Refusal(absl::StatusCode::kResourceExhausted, text, "DISK_FULL");
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return kernels::Refusal(absl::StatusCode::kDataLoss, text, "CATALOG_DAMAGED");
    case SQLITE_IOERR:
      return absl::UnavailableError(text);
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_BUSY:
      return absl::FailedPreconditionError(text);
    default:
      return absl::InternalError(text);
  }
}

}  // namespace

SqliteStatement::SqliteStatement(sqlite3_stmt* statement, const std::string* path)
    : statement_(statement), path_(path) {}

SqliteStatement::SqliteStatement(SqliteStatement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)), path_(other.path_) {}

SqliteStatement::~SqliteStatement() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

SqliteStatement& SqliteStatement::Bind(int parameter, int64_t value) {
  MSA_CHECK(sqlite3_bind_int64(statement_, parameter, value) == SQLITE_OK, "parameter exists");
  return *this;
}

SqliteStatement& SqliteStatement::Bind(int parameter, uint64_t value) {
  return Bind(parameter, static_cast<int64_t>(value));
}

SqliteStatement& SqliteStatement::Bind(int parameter, std::string_view value) {
  MSA_CHECK(sqlite3_bind_text64(statement_, parameter, value.data() == nullptr ? "" : value.data(),
                                value.size(), SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK,
            "parameter exists");
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return SqliteStatus(code, *path_, sqlite3_errmsg(sqlite3_db_handle(statement_)));
}

absl::Status SqliteStatement::Run() {
  MSA_ASSIGN_OR_RETURN(const bool has_row, Step());
  MSA_CHECK(!has_row, "a statement without rows");
  return absl::OkStatus();
}

int64_t SqliteStatement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

uint64_t SqliteStatement::Bits(int column) const { return static_cast<uint64_t>(Int(column)); }

std::string SqliteStatement::Text(int column) const {
  const auto* text = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  if (text == nullptr) return {};
  return std::string(static_cast<const char*>(text), static_cast<size_t>(size));
}

bool SqliteStatement::IsText(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_TEXT;
}

SqliteConnection::SqliteConnection(std::string path) : path_(std::move(path)) {}

absl::StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const CatalogVfs& vfs,
                                                                         const std::string& path,
                                                                         bool create) {
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(path));
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
  const int code = sqlite3_open_v2(path.c_str(), &connection->database_, flags, vfs.name().c_str());
  MSA_RETURN_IF_ERROR(connection->StatusOf(code));
  // Another connection of this process may close or recover the WAL for a moment.
  sqlite3_busy_timeout(connection->database_, 10'000);
  MSA_RETURN_IF_ERROR(
      connection->Execute("PRAGMA temp_store = MEMORY; PRAGMA journal_mode = WAL; "
                          "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON"));
  return connection;
}

SqliteConnection::~SqliteConnection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(database_);
}

absl::Status SqliteConnection::StatusOf(int code) const {
  return SqliteStatus(code, path_,
                      database_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database_));
}

absl::StatusOr<SqliteStatement> SqliteConnection::Prepare(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    const int code =
        sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) {
      statements_.erase(sql);
      return StatusOf(code);
    }
  }
  return SqliteStatement(statement, &path_);
}

absl::Status SqliteConnection::Execute(const char* sql) {
  return StatusOf(sqlite3_exec(database_, sql, nullptr, nullptr, nullptr));
}

}  // namespace msa::engine
