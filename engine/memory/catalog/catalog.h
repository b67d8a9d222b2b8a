#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/memory/catalog/catalog_reader.h"
#include "engine/memory/catalog/catalog_schema.h"
#include "engine/memory/catalog/catalog_vfs.h"

namespace msa::engine {

inline constexpr uint32_t kFirstDocumentNumber = 1;

// A bank's SQLite database, the only source of truth; docs/memory_bank_format.md has the schema.
// One thread writes, inside Begin ... Commit, and reads what it writes through CatalogReader; the
// methods marked (reader) run on a connection of their own, on any thread, and never wait for a
// writer. Errors as SqliteConnection's.
class Catalog : public CatalogReader {
 public:
  static constexpr char kFileName[] = "catalog.sqlite";  // in the directory of a bank or backup

  // A new database at `path`; NOT synced into its directory. It is closed again: Open it.
  static absl::Status Create(const CatalogVfs& vfs, const std::string& path,
                             const CatalogSettings& settings);
  // Brings a database of an earlier version to this one. FAILED_PRECONDITION
  // (UNKNOWN_FORMAT_VERSION) names the version, NOT_FOUND where there is none, DATA_LOSS where the
  // log or the pages are damaged.
  static absl::StatusOr<std::unique_ptr<Catalog>> Open(const CatalogVfs& vfs,
                                                       const std::string& path);
  // Without a look at the pages: CheckStructure and Repair come before anything else is written, and
  // before what was read is believed. Or only to read what was open before.
  static absl::StatusOr<std::unique_ptr<Catalog>> OpenUnchecked(const CatalogVfs& vfs,
                                                                const std::string& path);

  // ---- the writing thread
  const CatalogSettings& settings() const { return settings_; }  // with what is not committed yet
  // CheckStructure's findings, also none. Indexes that do not agree with the documents are built
  // anew, DATA_LOSS where that does not help. Then the log that a killed process has left is synced.
  absl::Status Repair(const std::vector<std::string>& problems);
  absl::Status Begin();
  absl::Status Commit();  // everything since Begin is synced, or (on an error) nothing is there
  void Rollback();

  absl::Status PutSettings(const CatalogSettings& settings);  // of the same geometry
  absl::Status PutCounters(uint64_t next_number, uint64_t revision);
  absl::Status Insert(const DocumentRow& row, std::string_view text);
  absl::Status Update(const DocumentRow& row);
  absl::Status Purge(uint32_t number);  // row and text
  absl::Status InsertSegment(const SegmentRow& row);
  absl::Status RemoveSegment(uint64_t id);
  // Outside a transaction: writes the whole database anew, so that no byte of what was deleted is
  // in any page; readers go on. Takes twice the database's size of disk meanwhile, and little
  // memory.
  absl::Status Rewrite();
  // Outside a transaction: all of the log into the database, and the log cut to nothing.
  // FAILED_PRECONDITION where somebody reads just now: try again.
  absl::Status TruncateLog();

  // ---- (reader): as CatalogReader's
  absl::StatusOr<std::vector<std::string>> CheckStructure() const;
  absl::StatusOr<DocumentInfo> FindNewest(const std::string& id, bool with_text) const;
  absl::StatusOr<DocumentPage> ListAfter(const std::string& after_id, int64_t limit, bool with_text,
                                         const Filter* filter) const;
  absl::StatusOr<std::vector<DocumentInfo>> ReadAt(absl::Span<const uint32_t> numbers,
                                                   uint64_t revision, bool with_text) const;

 private:
  Catalog(std::unique_ptr<SqliteConnection> writer, std::unique_ptr<SqliteConnection> reader);
  absl::Status CutLog();

  CatalogSettings settings_;
  CatalogSettings committed_;
  std::string path_;
  mutable std::mutex reader_mutex_;
  const CatalogReader reader_;  // under reader_mutex_
};

}  // namespace msa::engine
