#include "engine/memory/catalog/catalog.h"

#include "absl/cleanup/cleanup.h"
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
constexpr char kSelect[] = "SELECT * FROM documents WHERE number = ?1";
constexpr char kSelectText[] = "SELECT text FROM texts WHERE number = ?1";
constexpr char kSelectAll[] = "SELECT * FROM documents ORDER BY number";
constexpr char kSelectVersions[] =
    "SELECT * FROM documents WHERE id = ?1 AND state != 3 ORDER BY number DESC";
constexpr char kSelectPage[] =
    "SELECT * FROM documents AS d WHERE state != 3 AND id > ?1 AND NOT EXISTS "
    "(SELECT 1 FROM documents AS n WHERE n.id = d.id AND n.state != 3 AND n.number > d.number) "
    "ORDER BY id";
constexpr char kSelectUnfinished[] = "SELECT * FROM documents WHERE state IN (0, 2)";
constexpr char kInsertSegment[] = "INSERT INTO segments VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
constexpr char kDeleteSegment[] = "DELETE FROM segments WHERE segment = ?1";
constexpr char kSelectSegments[] = "SELECT * FROM segments ORDER BY segment";
// A page reads no more, so that a filter that keeps little does not hold the connection for long.
constexpr int64_t kMaxRowsOfPage = 10'000;
constexpr char kWriteLogBack[] = "PRAGMA wal_checkpoint(PASSIVE)";
constexpr char kTruncateLog[] = "PRAGMA wal_checkpoint(TRUNCATE)";
constexpr char kBeginWriting[] = "BEGIN IMMEDIATE";
constexpr char kBeginReading[] = "BEGIN";
constexpr char kCommit[] = "COMMIT";
constexpr char kRollback[] = "ROLLBACK";

absl::StatusOr<std::string> ReadText(const DocumentRow& row, SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(kSelectText));
  statement.Bind(1, int64_t{row.number});
  MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  std::string text = has_row ? statement.Text(0) : std::string();
  MSA_RETURN_IF_ERROR(CheckText(row, text));
  return text;
}

absl::StatusOr<std::optional<DocumentRow>> ReadDocument(uint32_t number,
                                                        SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(kSelect));
  statement.Bind(1, int64_t{number});
  MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (!has_row) return std::nullopt;
  MSA_ASSIGN_OR_RETURN(DocumentRow row, ReadRow(statement));
  return row;
}

absl::StatusOr<std::vector<DocumentRow>> ReadDocuments(SqliteStatement statement) {
  std::vector<DocumentRow> rows;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return rows;
    MSA_ASSIGN_OR_RETURN(DocumentRow row, ReadRow(statement));
    rows.push_back(std::move(row));
  }
}

absl::StatusOr<std::vector<DocumentRow>> ReadVersions(const std::string& id,
                                                      SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(kSelectVersions));
  statement.Bind(1, std::string_view(id));
  return ReadDocuments(std::move(statement));
}

absl::StatusOr<DocumentInfo> ReadInfo(const DocumentRow& row, bool with_text,
                                      SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(DocumentInfo info, InfoOf(row));
  if (with_text) {
    MSA_ASSIGN_OR_RETURN(info.text, ReadText(row, connection));
  }
  return info;
}

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

// Runs `read` in one snapshot of the database.
template <class Read>
auto InSnapshot(SqliteConnection* connection, Read read) -> decltype(read()) {
  MSA_RETURN_IF_ERROR(Run(kBeginReading, connection));
  const absl::Cleanup end = [&] { Run(kCommit, connection).IgnoreError(); };
  return read();
}

}  // namespace

absl::Status Catalog::Create(const CatalogVfs& vfs, const std::string& path,
                             const CatalogSettings& settings) {
  MSA_ASSIGN_OR_RETURN(const auto connection, SqliteConnection::Open(vfs, path, /*create=*/true));
  return CreateSchema(settings, connection.get());
}

absl::StatusOr<std::unique_ptr<Catalog>> Catalog::Open(const CatalogVfs& vfs,
                                                       const std::string& path) {
  if (!vfs.file_system()->Exists(path)) {
    return absl::NotFoundError(absl::StrCat(path, " does not exist"));
  }
  MSA_RETURN_IF_ERROR(CheckLog(vfs.file_system(), path + "-wal"));
  MSA_ASSIGN_OR_RETURN(auto writer, SqliteConnection::Open(vfs, path, /*create=*/false));
  auto settings = ReadSettings(writer.get());
  if (!settings.ok()) return kernels::Prefixed(settings.status(), path);
  absl::Status repaired;
  const absl::Status structure = CheckStructure(writer.get(), &repaired);
  if (!structure.ok()) return kernels::Prefixed(structure, path);
  MSA_RETURN_IF_ERROR(SyncRecovered(writer.get()));
  MSA_ASSIGN_OR_RETURN(auto reader, SqliteConnection::Open(vfs, path, /*create=*/false));
  std::unique_ptr<Catalog> catalog(new Catalog(std::move(writer), std::move(reader)));
  catalog->settings_ = *std::move(settings);
  if (!repaired.ok()) catalog->repaired_ = kernels::Prefixed(repaired, path);
  return catalog;
}

Catalog::Catalog(std::unique_ptr<SqliteConnection> writer, std::unique_ptr<SqliteConnection> reader)
    : writer_(std::move(writer)), reader_(std::move(reader)) {}

absl::Status Catalog::Begin() { return Run(kBeginWriting, writer_.get()); }

absl::Status Catalog::Commit() {
  const absl::Status status = Run(kCommit, writer_.get());
  if (!status.ok()) Rollback();
  return status;
}

// Fails where SQLite has rolled back by itself already.
void Catalog::Rollback() { Run(kRollback, writer_.get()).IgnoreError(); }

absl::Status Catalog::PutCounters(uint64_t next_number, uint64_t revision) {
  CatalogSettings changed = settings_;
  changed.next_number = next_number;
  changed.revision = revision;
  return WriteCounters(changed, writer_.get());
}

absl::Status Catalog::Insert(const DocumentRow& row, std::string_view text) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement insert, writer_->Prepare(kInsert));
  BindRow(row, &insert);
  MSA_RETURN_IF_ERROR(insert.Run());
  MSA_ASSIGN_OR_RETURN(SqliteStatement insert_text, writer_->Prepare(kInsertText));
  return insert_text.Bind(1, int64_t{row.number}).Bind(2, text).Run();
}

absl::Status Catalog::Update(const DocumentRow& row) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, writer_->Prepare(kUpdate));
  BindRow(row, &statement);
  return statement.Run();
}

absl::Status Catalog::Purge(uint32_t number) {
  for (const char* sql : {kDelete, kDeleteText}) {
    MSA_ASSIGN_OR_RETURN(SqliteStatement statement, writer_->Prepare(sql));
    MSA_RETURN_IF_ERROR(statement.Bind(1, int64_t{number}).Run());
  }
  return absl::OkStatus();
}

absl::Status Catalog::InsertSegment(const SegmentRow& row) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, writer_->Prepare(kInsertSegment));
  statement.Bind(1, row.id)
      .Bind(2, row.version)
      .Bind(3, std::string_view(row.instruction_set))
      .Bind(4, row.num_documents)
      .Bind(5, row.num_chunks)
      .Bind(6, row.file_bytes);
  return statement.Run();
}

absl::Status Catalog::RemoveSegment(uint64_t id) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, writer_->Prepare(kDeleteSegment));
  return statement.Bind(1, id).Run();
}

absl::Status Catalog::TruncateLog() {
  const std::lock_guard lock(reader_mutex_);
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, writer_->Prepare(kTruncateLog));
  MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (has_row && statement.Int(0) == 0) return absl::OkStatus();
  return absl::UnavailableError("another process reads the catalog; its log could not be cut");
}

absl::StatusOr<std::vector<DocumentRow>> Catalog::VersionsOf(const std::string& id) {
  return ReadVersions(id, writer_.get());
}

absl::StatusOr<std::optional<DocumentRow>> Catalog::Find(uint32_t number) {
  return ReadDocument(number, writer_.get());
}

absl::StatusOr<std::vector<DocumentRow>> Catalog::Unfinished() {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, writer_->Prepare(kSelectUnfinished));
  return ReadDocuments(std::move(statement));
}

absl::StatusOr<std::string> Catalog::TextOf(const DocumentRow& row) {
  return ReadText(row, writer_.get());
}

absl::StatusOr<std::vector<SegmentRow>> Catalog::Segments() {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, writer_->Prepare(kSelectSegments));
  std::vector<SegmentRow> rows;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return rows;
    rows.push_back({.id = statement.Bits(0),
                    .version = statement.Int(1),
                    .instruction_set = statement.Text(2),
                    .num_documents = statement.Int(3),
                    .num_chunks = statement.Int(4),
                    .file_bytes = statement.Int(5)});
  }
}

absl::Status Catalog::ForEachDocument(absl::FunctionRef<absl::Status(DocumentRow)> visit,
                                      absl::FunctionRef<void(const absl::Status&)> damaged) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, writer_->Prepare(kSelectAll));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return absl::OkStatus();
    auto row = ReadRow(statement);
    if (row.ok()) {
      MSA_RETURN_IF_ERROR(visit(*std::move(row)));
    } else {
      damaged(row.status());
    }
  }
}

absl::StatusOr<DocumentInfo> Catalog::FindNewest(const std::string& id, bool with_text) const {
  const std::lock_guard lock(reader_mutex_);
  return InSnapshot(reader_.get(), [&]() -> absl::StatusOr<DocumentInfo> {
    MSA_ASSIGN_OR_RETURN(const auto versions, ReadVersions(id, reader_.get()));
    if (versions.empty()) {
      return kernels::Refusal(absl::StatusCode::kNotFound,
                              absl::StrCat("document \"", id, "\" is not there"),
                              "DOCUMENT_NOT_FOUND", "document_id");
    }
    return ReadInfo(versions.front(), with_text, reader_.get());
  });
}

absl::StatusOr<DocumentPage> Catalog::ListAfter(const std::string& after_id, int64_t limit,
                                                bool with_text, const Filter* filter) const {
  const std::lock_guard lock(reader_mutex_);
  return InSnapshot(reader_.get(), [&]() -> absl::StatusOr<DocumentPage> {
    MSA_ASSIGN_OR_RETURN(SqliteStatement statement, reader_->Prepare(kSelectPage));
    statement.Bind(1, std::string_view(after_id));
    DocumentPage page;
    std::string last_id;
    for (int64_t num_rows = 0;; ++num_rows) {
      MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
      if (!has_row) return page;
      if (num_rows >= kMaxRowsOfPage || static_cast<int64_t>(page.documents.size()) >= limit) {
        page.next_after_id = last_id;
        return page;
      }
      MSA_ASSIGN_OR_RETURN(const DocumentRow row, ReadRow(statement));
      last_id = row.id;
      MSA_ASSIGN_OR_RETURN(DocumentInfo info, InfoOf(row));
      if (filter != nullptr && !filter->Matches(info.id, info.metadata)) continue;
      if (with_text) {
        MSA_ASSIGN_OR_RETURN(info.text, ReadText(row, reader_.get()));
      }
      page.documents.push_back(std::move(info));
    }
  });
}

absl::StatusOr<std::vector<DocumentInfo>> Catalog::ReadAt(absl::Span<const uint32_t> numbers,
                                                          uint64_t revision, bool with_text) const {
  const std::lock_guard lock(reader_mutex_);
  return InSnapshot(reader_.get(), [&]() -> absl::StatusOr<std::vector<DocumentInfo>> {
    std::vector<DocumentInfo> infos;
    for (const uint32_t number : numbers) {
      MSA_ASSIGN_OR_RETURN(const auto row, ReadDocument(number, reader_.get()));
      if (!row || !row->VisibleAt(revision)) continue;
      MSA_ASSIGN_OR_RETURN(DocumentInfo info, ReadInfo(*row, with_text, reader_.get()));
      infos.push_back(std::move(info));
    }
    return infos;
  });
}

}  // namespace msa::engine
