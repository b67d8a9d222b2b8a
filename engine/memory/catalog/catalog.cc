#include "engine/memory/catalog/catalog.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/memory/catalog/catalog_schema.h"
#include "engine/memory/catalog/log_check.h"
#include "engine/memory/catalog/structure_check.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

constexpr char kInsert[] =
    "INSERT INTO documents VALUES "
    "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
constexpr char kUpdate[] =
    "UPDATE documents SET id = ?2, state = ?3, metadata = ?4, tokens = ?5, chunks = ?6, "
    "text_bytes = ?7, text_hash = ?8, from_revision = ?9, to_revision = ?10, segment = ?11, "
    "document_in_segment = ?12, create_time = ?13, failure_code = ?14, failure_message = ?15, "
    "row_hash = ?16 WHERE number = ?1";
constexpr char kInsertText[] = "INSERT INTO texts VALUES (?1, ?2)";
constexpr char kDelete[] = "DELETE FROM documents WHERE number = ?1";
constexpr char kDeleteText[] = "DELETE FROM texts WHERE number = ?1";
constexpr char kInsertSegment[] = "INSERT INTO segments VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
constexpr char kDeleteSegment[] = "DELETE FROM segments WHERE segment = ?1";
// Temporary files, not memory, hold the copy meanwhile.
constexpr char kRewrite[] = "PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY";
constexpr char kWriteLogBack[] = "PRAGMA wal_checkpoint(PASSIVE)";
constexpr char kWaitShortly[] = "PRAGMA busy_timeout = 100";
constexpr char kWaitLong[] = "PRAGMA busy_timeout = 10000";  // as it was opened
constexpr char kTruncateLog[] = "PRAGMA wal_checkpoint(TRUNCATE)";
constexpr char kBegin[] = "BEGIN IMMEDIATE";
constexpr char kCommit[] = "COMMIT";
constexpr char kRollback[] = "ROLLBACK";

absl::Status Run(const char* sql, SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(sql));
  return statement.Run();
}

// Writes the log that a killed process has left into the database, synced. What it committed last
// may be known to the operating system alone, and nobody may be told of it as long as that is so.
// Where the disk is full the log is at least synced.
absl::Status SyncRecovered(SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(kWriteLogBack));
  const absl::Status status = statement.Step().status();
  return absl::IsResourceExhausted(status) ? absl::OkStatus() : status;
}

}  // namespace

absl::Status Catalog::Create(const CatalogVfs& vfs, const std::string& path,
                             const CatalogSettings& settings) {
  MSA_ASSIGN_OR_RETURN(const auto connection, SqliteConnection::Open(vfs, path, /*create=*/true));
  return CreateSchema(settings, connection.get());
}

absl::StatusOr<std::unique_ptr<Catalog>> Catalog::Open(const CatalogVfs& vfs,
                                                       const std::string& path) {
  MSA_ASSIGN_OR_RETURN(auto catalog, OpenUnchecked(vfs, path));
  MSA_ASSIGN_OR_RETURN(const auto problems, catalog->CheckStructure());
  MSA_RETURN_IF_ERROR(catalog->Repair(problems));
  return catalog;
}

absl::StatusOr<std::unique_ptr<Catalog>> Catalog::OpenUnchecked(const CatalogVfs& vfs,
                                                                const std::string& path) {
  if (!vfs.file_system()->Exists(path)) {
    return absl::NotFoundError(absl::StrCat(path, " does not exist"));
  }
  MSA_RETURN_IF_ERROR(CheckLog(vfs.file_system(), path + "-wal"));
  MSA_ASSIGN_OR_RETURN(auto writer, SqliteConnection::Open(vfs, path, /*create=*/false));
  auto settings = OpenSchema(writer.get());
  if (!settings.ok()) return kernels::Prefixed(settings.status(), path);
  MSA_ASSIGN_OR_RETURN(auto reader, SqliteConnection::Open(vfs, path, /*create=*/false));
  std::unique_ptr<Catalog> catalog(new Catalog(std::move(writer), std::move(reader)));
  catalog->settings_ = *std::move(settings);
  catalog->committed_ = catalog->settings_;
  catalog->path_ = path;
  return catalog;
}

absl::StatusOr<std::vector<std::string>> Catalog::CheckStructure() const {
  const std::lock_guard lock(reader_mutex_);
  return reader_.CheckStructure();
}

absl::Status Catalog::Repair(const std::vector<std::string>& problems) {
  const absl::Status status = RepairStructure(problems, connection());
  if (!status.ok()) return kernels::Prefixed(status, path_);
  return SyncRecovered(connection());
}

Catalog::Catalog(std::unique_ptr<SqliteConnection> writer, std::unique_ptr<SqliteConnection> reader)
    : CatalogReader(std::move(writer)), reader_(std::move(reader)) {}

absl::Status Catalog::Begin() { return Run(kBegin, connection()); }

absl::Status Catalog::Commit() {
  const absl::Status status = Run(kCommit, connection());
  if (status.ok()) {
    committed_ = settings_;
  } else {
    Rollback();
  }
  return status;
}

// Fails where SQLite has rolled back by itself already.
void Catalog::Rollback() {
  Run(kRollback, connection()).IgnoreError();
  settings_ = committed_;
}

absl::Status Catalog::PutSettings(const CatalogSettings& settings) {
  settings_ = settings;
  return WriteSettings(settings, connection());
}

absl::Status Catalog::PutCounters(uint64_t next_number, uint64_t revision) {
  settings_.next_number = next_number;
  settings_.revision = revision;
  return WriteSettings(settings_, connection());
}

absl::Status Catalog::Insert(const DocumentRow& row, std::string_view text) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement insert, connection()->Prepare(kInsert));
  BindRow(row, &insert);
  MSA_RETURN_IF_ERROR(insert.Run());
  MSA_ASSIGN_OR_RETURN(SqliteStatement insert_text, connection()->Prepare(kInsertText));
  return insert_text.Bind(1, int64_t{row.number}).Bind(2, text).Run();
}

absl::Status Catalog::Update(const DocumentRow& row) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection()->Prepare(kUpdate));
  BindRow(row, &statement);
  return statement.Run();
}

absl::Status Catalog::Purge(uint32_t number) {
  for (const char* sql : {kDelete, kDeleteText}) {
    MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection()->Prepare(sql));
    MSA_RETURN_IF_ERROR(statement.Bind(1, int64_t{number}).Run());
  }
  return absl::OkStatus();
}

absl::Status Catalog::InsertSegment(const SegmentRow& row) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection()->Prepare(kInsertSegment));
  statement.Bind(1, row.id)
      .Bind(2, row.version)
      .Bind(3, std::string_view(row.instruction_set))
      .Bind(4, row.num_documents)
      .Bind(5, row.num_chunks)
      .Bind(6, row.file_bytes);
  return statement.Run();
}

absl::Status Catalog::RemoveSegment(uint64_t id) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection()->Prepare(kDeleteSegment));
  return statement.Bind(1, id).Run();
}

absl::Status Catalog::Rewrite() { return connection()->Execute(kRewrite); }

absl::Status Catalog::TruncateLog() {
  const std::lock_guard lock(reader_mutex_);
  MSA_RETURN_IF_ERROR(connection()->Execute(kWaitShortly));
  const absl::Status status = CutLog();
  MSA_RETURN_IF_ERROR(connection()->Execute(kWaitLong));
  return status;
}

absl::Status Catalog::CutLog() {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection()->Prepare(kTruncateLog));
  MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (has_row && statement.Int(0) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError("the catalog is being read; its log could not be cut");
}

absl::StatusOr<DocumentInfo> Catalog::FindNewest(const std::string& id, bool with_text) const {
  const std::lock_guard lock(reader_mutex_);
  return reader_.FindNewest(id, with_text);
}

absl::StatusOr<DocumentPage> Catalog::ListAfter(const std::string& after_id, int64_t limit,
                                                bool with_text, const Filter* filter) const {
  const std::lock_guard lock(reader_mutex_);
  return reader_.ListAfter(after_id, limit, with_text, filter);
}

absl::StatusOr<std::vector<DocumentInfo>> Catalog::ReadAt(absl::Span<const uint32_t> numbers,
                                                          uint64_t revision, bool with_text) const {
  const std::lock_guard lock(reader_mutex_);
  return reader_.ReadAt(numbers, revision, with_text);
}

}  // namespace msa::engine
