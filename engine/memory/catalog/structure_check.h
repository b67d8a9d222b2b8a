#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/catalog/sqlite_connection.h"

namespace msa::engine {

// Rows have hashes, what leads to them has none: an index that has lost an entry hides a document
// or brings a deleted one back, a free page that is in use is overwritten. So SQLite looks through
// all pages and indexes (about 0.4 s for 100,000 documents of 2 KB).

// What is wrong, in SQLite's words; nothing: all is well. Reads the whole database.
absl::StatusOr<std::vector<std::string>> FindStructureProblems(SqliteConnection* connection);

// Indexes that do not agree with the rows are built anew; any other problem is DATA_LOSS.
absl::Status RepairStructure(const std::vector<std::string>& problems,
                             SqliteConnection* connection);

}  // namespace msa::engine
