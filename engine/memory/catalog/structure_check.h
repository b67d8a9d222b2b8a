#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/catalog/sqlite_connection.h"

namespace msa::engine {

// Rows have hashes, what leads to them has none: an index that has lost an entry hides a document
// or brings a deleted one back, a free page that is in use is overwritten. So SQLite looks through
// all pages and indexes (about 0.4 s for 100,000 documents of 2 KB). Indexes that do not agree with
// the rows are built anew, and `*repaired` says what was wrong, ok where nothing was; anything else
// is DATA_LOSS.
absl::Status RepairStructure(SqliteConnection* connection, absl::Status* repaired);

// What is wrong, in SQLite's words. Reads the whole database.
absl::StatusOr<std::vector<std::string>> FindStructureProblems(SqliteConnection* connection);

}  // namespace msa::engine
