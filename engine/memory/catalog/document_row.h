#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/catalog/sqlite_connection.h"
#include "engine/memory/documents/document.h"

namespace msa::engine {

// One version of a document in the catalog, all but its text.
struct DocumentRow {
  uint32_t number = 0;
  std::string id;
  DocumentState state = DocumentState::kAccepted;
  std::string metadata_json = "{}";  // ToJson
  int64_t num_tokens = 0;
  int64_t num_chunks = 0;
  int64_t text_bytes = 0;
  uint64_t text_hash = 0;      // XXH3-64
  uint64_t from_revision = 0;  // visible to revisions from <= r < to; 0: not yet
  uint64_t to_revision = 0;    // 0: without end
  uint64_t segment = 0;        // 0: none
  int64_t document_in_segment = 0;
  absl::Time create_time;
  absl::Status failure;

  // Whether a query of `revision` sees the document.
  bool VisibleAt(uint64_t revision) const {
    return from_revision != 0 && from_revision <= revision &&
           (to_revision == 0 || revision < to_revision);
  }
  // The document is to be encoded again; until then nobody sees it.
  void BecomeAccepted() {
    state = DocumentState::kAccepted;
    from_revision = 0;
    segment = 0;
    document_in_segment = 0;
  }
};

// XXH3-64 of the columns before row_hash as they are stored: integers as 8 bytes little endian,
// texts as their length (8 bytes) and their bytes.
uint64_t RowHash(const DocumentRow& row);

// Parameters and columns in the order of the table documents, which is the order above. `row` must
// live until the statement has run.
void BindRow(const DocumentRow& row, SqliteStatement* statement);
// DATA_LOSS names the document where the row's hash is wrong.
absl::StatusOr<DocumentRow> ReadRow(const SqliteStatement& statement);

// DATA_LOSS unless `text` is the text of `row`.
absl::Status CheckText(const DocumentRow& row, std::string_view text);

// As users see it, without text and shard. DATA_LOSS where the metadata is no metadata.
absl::StatusOr<DocumentInfo> InfoOf(const DocumentRow& row);

}  // namespace msa::engine
