#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/memory/catalog/catalog_vfs.h"
#include "engine/memory/catalog/document_row.h"
#include "engine/memory/catalog/sqlite_connection.h"
#include "engine/memory/documents/bank_settings.h"
#include "engine/memory/documents/encoded_document.h"
#include "engine/memory/documents/filter.h"

namespace msa::engine {

inline constexpr int64_t kCatalogVersion = 1;
inline constexpr uint32_t kFirstDocumentNumber = 1;

// What a bank is, and its counters.
struct CatalogSettings {
  std::string name;
  BankSettings bank;
  absl::Time create_time;
  MemoryGeometry geometry;  // without the instruction set, which each segment has its own of
  // The lowest that was never used; those given out start at kFirstDocumentNumber.
  uint64_t next_number = 0;
  uint64_t revision = 0;
};

struct SegmentRow {
  uint64_t id = 0;
  int64_t version = 0;
  std::string instruction_set;
  int64_t num_documents = 0;
  int64_t num_chunks = 0;
  int64_t file_bytes = 0;
  friend bool operator==(const SegmentRow&, const SegmentRow&) = default;
};

// A bank's SQLite database, the only source of truth; docs/memory_bank_format.md has the schema.
// One thread writes, inside Begin ... Commit; the methods marked (reader) run on a connection of
// their own, on any thread, and never wait for a writer. Rows are verified against their hashes.
// Errors as SqliteConnection's; DATA_LOSS names the document.
class Catalog {
 public:
  // A new database at `path`; NOT synced into its directory. It is closed again: Open it.
  static absl::Status Create(const CatalogVfs& vfs, const std::string& path,
                             const CatalogSettings& settings);
  // FAILED_PRECONDITION (UNKNOWN_FORMAT_VERSION) names the version, NOT_FOUND where there is none,
  // DATA_LOSS where the log or the pages are damaged.
  static absl::StatusOr<std::unique_ptr<Catalog>> Open(const CatalogVfs& vfs,
                                                       const std::string& path);

  const CatalogSettings& settings() const { return settings_; }  // as opened
  // DATA_LOSS where something was wrong that has been put right.
  const absl::Status& repaired() const { return repaired_; }

  // ---- the writing thread
  absl::Status Begin();
  absl::Status Commit();  // everything since Begin is synced, or (on an error) nothing is there
  void Rollback();

  absl::Status PutCounters(uint64_t next_number, uint64_t revision);
  absl::Status Insert(const DocumentRow& row, std::string_view text);
  absl::Status Update(const DocumentRow& row);
  absl::Status Purge(uint32_t number);  // row and text
  absl::Status InsertSegment(const SegmentRow& row);
  absl::Status RemoveSegment(uint64_t id);
  // Outside a transaction: all of the log into the database, and the log cut to nothing, so that no
  // byte of what was deleted stays in it. Waits for readers.
  absl::Status TruncateLog();

  // Versions of an id that are not DELETED, the newest first.
  absl::StatusOr<std::vector<DocumentRow>> VersionsOf(const std::string& id);
  absl::StatusOr<std::optional<DocumentRow>> Find(uint32_t number);
  absl::StatusOr<std::vector<DocumentRow>> Unfinished();       // ACCEPTED or FAILED
  absl::StatusOr<std::string> TextOf(const DocumentRow& row);  // verified
  absl::StatusOr<std::vector<SegmentRow>> Segments();
  // All rows in ascending number, while `visit` returns ok. A damaged row is told to `damaged` and
  // left out.
  absl::Status ForEachDocument(absl::FunctionRef<absl::Status(DocumentRow)> visit,
                               absl::FunctionRef<void(const absl::Status&)> damaged);

  // ---- (reader)
  absl::StatusOr<DocumentInfo> FindNewest(const std::string& id, bool with_text) const;
  // As Bank::List.
  absl::StatusOr<DocumentPage> ListAfter(const std::string& after_id, int64_t limit, bool with_text,
                                         const Filter* filter) const;
  absl::StatusOr<std::vector<DocumentInfo>> ReadAt(absl::Span<const uint32_t> numbers,
                                                   uint64_t revision, bool with_text) const;

 private:
  Catalog(std::unique_ptr<SqliteConnection> writer, std::unique_ptr<SqliteConnection> reader);

  CatalogSettings settings_;
  absl::Status repaired_;
  const std::unique_ptr<SqliteConnection> writer_;
  mutable std::mutex reader_mutex_;
  const std::unique_ptr<SqliteConnection> reader_;  // under reader_mutex_
};

}  // namespace msa::engine
