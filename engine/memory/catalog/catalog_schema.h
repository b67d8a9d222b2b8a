#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/memory/catalog/sqlite_connection.h"
#include "engine/memory/documents/bank_settings.h"
#include "engine/memory/documents/encoded_document.h"

namespace msa::engine {

inline constexpr int64_t kCatalogVersion = 3;

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

// Makes the tables of version kCatalogVersion and the settings, in one transaction.
absl::Status CreateSchema(const CatalogSettings& settings, SqliteConnection* connection);

// Refuses a database of another kind or of an unknown version, brings one of an earlier version to
// kCatalogVersion, then reads and verifies the settings.
absl::StatusOr<CatalogSettings> OpenSchema(SqliteConnection* connection);

// Name, what the owner chooses, counters, and the row's hash.
absl::Status WriteSettings(const CatalogSettings& settings, SqliteConnection* connection);

}  // namespace msa::engine
