#include "engine/memory/catalog/catalog_reader.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "engine/memory/catalog/structure_check.h"
#include "engine/memory/documents/document_rules.h"
#include "kernels/core/status_macros.h"
#include "kernels/ops/number_set.h"

namespace msa::engine {
namespace {

constexpr char kSelect[] = "SELECT * FROM documents WHERE number = ?1";
constexpr char kSelectText[] = "SELECT text FROM texts WHERE number = ?1";
constexpr char kSelectFrom[] = "SELECT * FROM documents WHERE number >= ?1 ORDER BY number";
constexpr char kSelectVersions[] =
    "SELECT * FROM documents WHERE id = ?1 AND state != 3 ORDER BY number DESC";
constexpr char kSelectPage[] =
    "SELECT * FROM documents AS d WHERE state != 3 AND id > ?1 AND NOT EXISTS "
    "(SELECT 1 FROM documents AS n WHERE n.id = d.id AND n.state != 3 AND n.number > d.number) "
    "ORDER BY id";
constexpr char kSelectUnfinished[] = "SELECT * FROM documents WHERE state IN (0, 2)";
constexpr char kSelectSegments[] = "SELECT * FROM segments ORDER BY segment";
// A page reads no more, so that a filter that keeps little does not hold the connection for long.
constexpr int64_t kMaxRowsOfPage = 10'000;
constexpr char kSumActive[] =
    "SELECT sum(chunks), count(*), sum(length(id) + length(metadata)) FROM documents "
    "WHERE state = 1";
constexpr char kCount[] = "SELECT count(DISTINCT id) FROM documents WHERE state != 3";
constexpr char kBegin[] = "BEGIN";
constexpr char kCommit[] = "COMMIT";
constexpr char kCopy[] = "VACUUM INTO ?1";

absl::StatusOr<std::vector<DocumentRow>> ReadRows(SqliteStatement statement) {
  std::vector<DocumentRow> rows;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return rows;
    MSA_ASSIGN_OR_RETURN(DocumentRow row, ReadRow(statement));
    rows.push_back(std::move(row));
  }
}

absl::Status Run(const char* sql, SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(sql));
  return statement.Run();
}

// Runs `read` in one snapshot of the database.
template <class Read>
auto InSnapshot(SqliteConnection* connection, Read read) -> decltype(read()) {
  MSA_RETURN_IF_ERROR(Run(kBegin, connection));
  const absl::Cleanup end = [&] { Run(kCommit, connection).IgnoreError(); };
  return read();
}

}  // namespace

absl::StatusOr<std::unique_ptr<CatalogReader>> CatalogReader::Open(const CatalogVfs& vfs,
                                                                   const std::string& path) {
  MSA_ASSIGN_OR_RETURN(auto connection, SqliteConnection::Open(vfs, path, /*create=*/false));
  return std::make_unique<CatalogReader>(std::move(connection));
}

absl::StatusOr<CatalogSettings> CatalogReader::ReadSettings() const {
  return OpenSchema(connection());
}

absl::StatusOr<std::vector<DocumentRow>> CatalogReader::VersionsOf(const std::string& id) const {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(kSelectVersions));
  statement.Bind(1, std::string_view(id));
  return ReadRows(std::move(statement));
}

absl::StatusOr<std::vector<uint32_t>> CatalogReader::DamagedVersionsOf(
    const std::string& id) const {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(kSelectVersions));
  statement.Bind(1, std::string_view(id));
  std::vector<uint32_t> numbers;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return numbers;
    if (!ReadRow(statement).ok()) numbers.push_back(static_cast<uint32_t>(statement.Int(0)));
  }
}

absl::StatusOr<std::optional<DocumentRow>> CatalogReader::Find(uint32_t number) const {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(kSelect));
  statement.Bind(1, int64_t{number});
  MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (!has_row) return std::nullopt;
  MSA_ASSIGN_OR_RETURN(DocumentRow row, ReadRow(statement));
  return row;
}

absl::StatusOr<std::vector<DocumentRow>> CatalogReader::Unfinished() const {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(kSelectUnfinished));
  return ReadRows(std::move(statement));
}

absl::StatusOr<std::string> CatalogReader::TextOf(const DocumentRow& row) const {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(kSelectText));
  statement.Bind(1, int64_t{row.number});
  MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  std::string text = has_row ? statement.Text(0) : std::string();
  MSA_RETURN_IF_ERROR(CheckText(row, text));
  return text;
}

absl::StatusOr<std::vector<SegmentRow>> CatalogReader::Segments() const {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(kSelectSegments));
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

absl::StatusOr<int64_t> CatalogReader::ReadNumber(const char* sql) const {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(sql));
  MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  return has_row ? statement.Int(0) : 0;
}

absl::StatusOr<int64_t> CatalogReader::EstimateResidentBytes(const CatalogSettings& settings,
                                                             RouterKeyScan scan) const {
  constexpr int64_t kIndexBytesPerDocument = 128;
  constexpr int64_t kBytesPerBlock = kernels::NumberSet::kWordsPerBlock * sizeof(uint64_t);
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(kSumActive));
  MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (!has_row) return 0;
  const auto num_blocks =
      static_cast<int64_t>(settings.next_number / kernels::NumberSet::kNumbersPerBlock + 1);
  return statement.Int(0) * settings.geometry.resident_key_bytes_per_chunk(scan) +
         statement.Int(1) * kIndexBytesPerDocument + statement.Int(2) + num_blocks * kBytesPerBlock;
}

absl::StatusOr<int64_t> CatalogReader::CountDocuments() const { return ReadNumber(kCount); }

absl::StatusOr<uint64_t> CatalogReader::ForEachDocument(uint64_t first, int64_t limit, Visit visit,
                                                        Damaged damaged) const {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(kSelectFrom));
  statement.Bind(1, first);
  for (int64_t count = 0;; ++count) {
    MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return 0;
    if (limit != 0 && count == limit) return statement.Bits(0);
    auto row = ReadRow(statement);
    if (row.ok()) {
      MSA_RETURN_IF_ERROR(visit(*std::move(row)));
    } else {
      damaged(static_cast<uint32_t>(statement.Int(0)), row.status());
    }
  }
}

absl::StatusOr<DocumentInfo> CatalogReader::InfoWithText(const DocumentRow& row,
                                                         bool with_text) const {
  MSA_ASSIGN_OR_RETURN(DocumentInfo info, InfoOf(row));
  if (with_text) {
    MSA_ASSIGN_OR_RETURN(info.text, TextOf(row));
  }
  return info;
}

absl::StatusOr<DocumentInfo> CatalogReader::FindNewest(const std::string& id,
                                                       bool with_text) const {
  return InSnapshot(connection(), [&]() -> absl::StatusOr<DocumentInfo> {
    MSA_ASSIGN_OR_RETURN(const auto versions, VersionsOf(id));
    if (versions.empty()) return NoDocument(id);
    return InfoWithText(versions.front(), with_text);
  });
}

absl::StatusOr<DocumentPage> CatalogReader::ListAfter(const std::string& after_id, int64_t limit,
                                                      bool with_text, const Filter* filter) const {
  return InSnapshot(connection(), [&]() -> absl::StatusOr<DocumentPage> {
    MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(kSelectPage));
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
        MSA_ASSIGN_OR_RETURN(info.text, TextOf(row));
      }
      page.documents.push_back(std::move(info));
    }
  });
}

absl::StatusOr<std::vector<DocumentInfo>> CatalogReader::ReadAt(absl::Span<const uint32_t> numbers,
                                                                uint64_t revision,
                                                                bool with_text) const {
  return InSnapshot(connection(), [&]() -> absl::StatusOr<std::vector<DocumentInfo>> {
    std::vector<DocumentInfo> infos;
    for (const uint32_t number : numbers) {
      MSA_ASSIGN_OR_RETURN(const auto row, Find(number));
      if (!row || !row->VisibleAt(revision)) continue;
      MSA_ASSIGN_OR_RETURN(DocumentInfo info, InfoWithText(*row, with_text));
      infos.push_back(std::move(info));
    }
    return infos;
  });
}

absl::StatusOr<std::vector<std::string>> CatalogReader::CheckStructure() const {
  return FindStructureProblems(connection());
}

absl::Status CatalogReader::CopyTo(const std::string& path) const {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection_->Prepare(kCopy));
  return statement.Bind(1, std::string_view(path)).Run();
}

}  // namespace msa::engine
