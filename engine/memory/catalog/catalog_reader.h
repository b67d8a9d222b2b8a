#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/memory/catalog/catalog_schema.h"
#include "engine/memory/catalog/catalog_vfs.h"
#include "engine/memory/catalog/document_row.h"
#include "engine/memory/catalog/sqlite_connection.h"
#include "engine/memory/documents/filter.h"

namespace msa::engine {

struct SegmentRow {
  uint64_t id = 0;
  int64_t version = 0;
  std::string instruction_set;
  int64_t num_documents = 0;
  int64_t num_chunks = 0;
  int64_t file_bytes = 0;
  friend bool operator==(const SegmentRow&, const SegmentRow&) = default;
};

// What can be read of a catalog over one connection. Rows and texts are verified against their
// hashes; DATA_LOSS names the document. Not thread-safe.
class CatalogReader {
 public:
  // On a connection of its own, beside whoever writes. The database must have been opened by
  // Catalog before.
  static absl::StatusOr<std::unique_ptr<CatalogReader>> Open(const CatalogVfs& vfs,
                                                             const std::string& path);
  explicit CatalogReader(std::unique_ptr<SqliteConnection> connection)
      : connection_(std::move(connection)) {}

  absl::StatusOr<CatalogSettings> ReadSettings() const;  // DATA_LOSS
  // Versions of an id that are not DELETED, the newest first.
  absl::StatusOr<std::vector<DocumentRow>> VersionsOf(const std::string& id) const;
  // Numbers of those whose rows are damaged; VersionsOf is DATA_LOSS where there is one.
  absl::StatusOr<std::vector<uint32_t>> DamagedVersionsOf(const std::string& id) const;
  absl::StatusOr<std::optional<DocumentRow>> Find(uint32_t number) const;
  absl::StatusOr<std::vector<DocumentRow>> Unfinished() const;       // ACCEPTED or FAILED
  absl::StatusOr<std::string> TextOf(const DocumentRow& row) const;  // verified
  absl::StatusOr<std::vector<SegmentRow>> Segments() const;
  // What the ACTIVE documents will take in memory, about: router keys, ids and metadata.
  absl::StatusOr<int64_t> EstimateResidentBytes(const CatalogSettings& settings,
                                                RouterKeyScan scan) const;
  absl::StatusOr<int64_t> CountDocuments() const;  // ids that are not DELETED
  // Rows in ascending number from `first` on, at most `limit` (0: all), while `visit` returns ok. A
  // damaged row is told to `damaged` and left out. Returns the number to go on with; 0: that was
  // all.
  using Visit = absl::FunctionRef<absl::Status(DocumentRow)>;
  using Damaged = absl::FunctionRef<void(uint32_t number, const absl::Status&)>;
  absl::StatusOr<uint64_t> ForEachDocument(uint64_t first, int64_t limit, Visit visit,
                                           Damaged damaged) const;

  // Each of these sees one moment.
  absl::StatusOr<DocumentInfo> FindNewest(const std::string& id, bool with_text) const;
  // As Bank::List.
  absl::StatusOr<DocumentPage> ListAfter(const std::string& after_id, int64_t limit, bool with_text,
                                         const Filter* filter) const;
  absl::StatusOr<std::vector<DocumentInfo>> ReadAt(absl::Span<const uint32_t> numbers,
                                                   uint64_t revision, bool with_text) const;

  // Whether indexes and pages are as SQLite wants them; what is wrong otherwise, in its words.
  // Reads the whole database.
  absl::StatusOr<std::vector<std::string>> CheckStructure() const;
  // Writes what the database holds at this moment to a new one at `path`, not synced.
  absl::Status CopyTo(const std::string& path) const;

 protected:
  SqliteConnection* connection() const { return connection_.get(); }

 private:
  absl::StatusOr<int64_t> ReadNumber(const char* sql) const;
  absl::StatusOr<DocumentInfo> InfoWithText(const DocumentRow& row, bool with_text) const;

  const std::unique_ptr<SqliteConnection> connection_;
};

}  // namespace msa::engine
