#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/catalog/catalog.h"
#include "engine/memory/catalog/sqlite_connection.h"

namespace msa::engine {

// Makes the tables of version kCatalogVersion and the settings, in one transaction.
absl::Status CreateSchema(const CatalogSettings& settings, SqliteConnection* connection);

// Refuses a database of another kind or version, then reads and verifies the settings.
absl::StatusOr<CatalogSettings> ReadSettings(SqliteConnection* connection);

// The counters and the hash of the settings' row.
absl::Status WriteCounters(const CatalogSettings& settings, SqliteConnection* connection);

}  // namespace msa::engine
