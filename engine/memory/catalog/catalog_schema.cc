#include "engine/memory/catalog/catalog_schema.h"

#include <iterator>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/memory/files/checksum.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

constexpr int64_t kApplicationId = 0x4d534142;  // "MSAB"

// `state` of documents: 0 ACCEPTED, 1 ACTIVE, 2 FAILED, 3 DELETED. 64-bit hashes and revisions are
// stored as signed numbers of the same bits. The first index leaves deleted versions out.
constexpr char kTables[] = R"sql(
CREATE TABLE settings (
  name TEXT NOT NULL,
  display_name TEXT NOT NULL,
  token_budget INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  model_fingerprint TEXT NOT NULL,
  msa_layers INTEGER NOT NULL,
  kv_width INTEGER NOT NULL,
  tokens_per_chunk INTEGER NOT NULL,
  dtype TEXT NOT NULL,
  next_number INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  row_hash INTEGER NOT NULL,
  default_limits TEXT NOT NULL DEFAULT '{}',
  router_key_scan TEXT NOT NULL DEFAULT 'exact'
);
CREATE TABLE documents (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  state INTEGER NOT NULL,
  metadata TEXT NOT NULL,
  tokens INTEGER NOT NULL,
  chunks INTEGER NOT NULL,
  text_bytes INTEGER NOT NULL,
  text_hash INTEGER NOT NULL,
  from_revision INTEGER NOT NULL,
  to_revision INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  document_in_segment INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  failure_code INTEGER NOT NULL,
  failure_message TEXT NOT NULL,
  row_hash INTEGER NOT NULL
);
CREATE INDEX documents_by_id ON documents (id, number) WHERE state != 3;
CREATE INDEX unfinished_documents ON documents (number) WHERE state IN (0, 2);
CREATE TABLE texts (
  number INTEGER PRIMARY KEY,
  text TEXT NOT NULL
);
CREATE TABLE segments (
  segment INTEGER PRIMARY KEY,
  format_version INTEGER NOT NULL,
  instruction_set TEXT NOT NULL,
  documents INTEGER NOT NULL,
  chunks INTEGER NOT NULL,
  file_bytes INTEGER NOT NULL
);
)sql";

constexpr char kInsertSettings[] =
    "INSERT INTO settings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
constexpr char kSelectSettings[] =
    "SELECT name, display_name, token_budget, create_time, model_fingerprint, msa_layers, "
    "kv_width, tokens_per_chunk, dtype, next_number, revision, row_hash, default_limits, "
    "router_key_scan FROM settings";
constexpr char kUpdateSettings[] =
    "UPDATE settings SET name = ?1, display_name = ?2, token_budget = ?3, next_number = ?4, "
    "revision = ?5, row_hash = ?6, default_limits = ?7, router_key_scan = ?8";
// To version i + 2. A settings row of an earlier version has the defaults, so that it can be read
// as one of this version; its hash is the earlier version's until it is written.
constexpr const char* kUpgrades[] = {
    "ALTER TABLE settings ADD COLUMN default_limits TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE settings ADD COLUMN router_key_scan TEXT NOT NULL DEFAULT 'exact'"};
static_assert(std::size(kUpgrades) == kCatalogVersion - 1);

std::string_view NameOf(RouterKeyScan scan) {
  return scan == RouterKeyScan::kInt8 ? "int8" : "exact";
}
std::string DTypeName(kernels::DType dtype) { return std::string(kernels::NameOf(dtype)); }

// Every text with its length, so that no two settings have the same string.
uint64_t SettingsHash(const CatalogSettings& settings, int64_t version) {
  std::vector<std::string> texts = {settings.name, settings.bank.display_name,
                                    settings.geometry.model_fingerprint,
                                    DTypeName(settings.geometry.dtype)};
  if (version > 1) texts.push_back(ToJson(settings.bank.default_limits));
  if (version > 2) texts.emplace_back(NameOf(settings.bank.router_key_scan));
  std::string all;
  for (const std::string& text : texts) absl::StrAppend(&all, text.size(), ":", text, ",");
  absl::StrAppend(&all, settings.bank.token_budget, ",", absl::ToUnixMicros(settings.create_time),
                  ",", settings.geometry.num_msa_layers, ",", settings.geometry.kv_width, ",",
                  settings.geometry.tokens_per_chunk, ",", settings.next_number, ",",
                  settings.revision);
  return Checksum(all);
}

absl::StatusOr<int64_t> ReadPragma(SqliteConnection* connection, const char* sql) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(sql));
  MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  return has_row ? statement.Int(0) : 0;
}

absl::Status InsertSettings(const CatalogSettings& settings, SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(kInsertSettings));
  const std::string dtype = DTypeName(settings.geometry.dtype);
  const std::string limits = ToJson(settings.bank.default_limits);
  statement.Bind(1, std::string_view(settings.name))
      .Bind(2, std::string_view(settings.bank.display_name))
      .Bind(3, settings.bank.token_budget)
      .Bind(4, absl::ToUnixMicros(settings.create_time))
      .Bind(5, std::string_view(settings.geometry.model_fingerprint))
      .Bind(6, settings.geometry.num_msa_layers)
      .Bind(7, settings.geometry.kv_width)
      .Bind(8, settings.geometry.tokens_per_chunk)
      .Bind(9, std::string_view(dtype))
      .Bind(10, settings.next_number)
      .Bind(11, settings.revision)
      .Bind(12, SettingsHash(settings, kCatalogVersion))
      .Bind(13, std::string_view(limits))
      .Bind(14, NameOf(settings.bank.router_key_scan));
  return statement.Run();
}

// The tables are of kCatalogVersion, the row was written by `version`.
absl::StatusOr<CatalogSettings> ReadSettingsOf(int64_t version, SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(kSelectSettings));
  MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  CatalogSettings settings;
  uint64_t hash = 0;
  if (has_row) {
    settings.name = statement.Text(0);
    settings.bank.display_name = statement.Text(1);
    settings.bank.token_budget = statement.Int(2);
    settings.create_time = absl::FromUnixMicros(statement.Int(3));
    settings.geometry.model_fingerprint = statement.Text(4);
    settings.geometry.num_msa_layers = statement.Int(5);
    settings.geometry.kv_width = statement.Int(6);
    settings.geometry.tokens_per_chunk = statement.Int(7);
    settings.geometry.dtype =
        statement.Text(8) == "f32" ? kernels::DType::kF32 : kernels::DType::kBF16;
    settings.next_number = statement.Bits(9);
    settings.revision = statement.Bits(10);
    hash = statement.Bits(11);
    MSA_ASSIGN_OR_RETURN(settings.bank.default_limits, QueryLimitsFromJson(statement.Text(12)));
    settings.bank.router_key_scan =
        statement.Text(13) == "int8" ? RouterKeyScan::kInt8 : RouterKeyScan::kExact;
  }
  if (!has_row || hash != SettingsHash(settings, version)) {
    return kernels::Refusal(absl::StatusCode::kDataLoss, "the catalog's settings are damaged",
                            "CATALOG_DAMAGED");
  }
  return settings;
}

absl::StatusOr<int64_t> ReadVersion(SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(const int64_t application, ReadPragma(connection, "PRAGMA application_id"));
  if (application != kApplicationId) {
    return kernels::Refusal(absl::StatusCode::kDataLoss,
                            "the database is no catalog of a memory bank", "CATALOG_DAMAGED");
  }
  MSA_ASSIGN_OR_RETURN(const int64_t version, ReadPragma(connection, "PRAGMA user_version"));
  if (version < 1 || version > kCatalogVersion) {
    return kernels::Refusal(
        absl::StatusCode::kFailedPrecondition,
        absl::StrCat("catalog format version ", version,
                     " is unknown, this server reads versions 1 to ", kCatalogVersion),
        "UNKNOWN_FORMAT_VERSION");
  }
  return version;
}

absl::Status Upgrade(int64_t version, SqliteConnection* connection) {
  const auto change = [&]() -> absl::Status {
    MSA_RETURN_IF_ERROR(connection->Execute("BEGIN IMMEDIATE"));
    for (int64_t next = version + 1; next <= kCatalogVersion; ++next) {
      MSA_RETURN_IF_ERROR(connection->Execute(kUpgrades[next - 2]));
    }
    MSA_ASSIGN_OR_RETURN(const CatalogSettings settings, ReadSettingsOf(version, connection));
    MSA_RETURN_IF_ERROR(WriteSettings(settings, connection));
    MSA_RETURN_IF_ERROR(
        connection->Execute(absl::StrCat("PRAGMA user_version = ", kCatalogVersion).c_str()));
    return connection->Execute("COMMIT");
  };
  const absl::Status status = change();
  if (!status.ok()) connection->Execute("ROLLBACK").IgnoreError();
  return status;
}

}  // namespace

absl::Status CreateSchema(const CatalogSettings& settings, SqliteConnection* connection) {
  const std::string pragmas = absl::StrCat("BEGIN; PRAGMA application_id = ", kApplicationId,
                                           "; PRAGMA user_version = ", kCatalogVersion);
  MSA_RETURN_IF_ERROR(connection->Execute(pragmas.c_str()));
  MSA_RETURN_IF_ERROR(connection->Execute(kTables));
  MSA_RETURN_IF_ERROR(InsertSettings(settings, connection));
  return connection->Execute("COMMIT");
}

absl::StatusOr<CatalogSettings> OpenSchema(SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(const int64_t version, ReadVersion(connection));
  if (version != kCatalogVersion) MSA_RETURN_IF_ERROR(Upgrade(version, connection));
  return ReadSettingsOf(kCatalogVersion, connection);
}

absl::Status WriteSettings(const CatalogSettings& settings, SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(kUpdateSettings));
  const std::string limits = ToJson(settings.bank.default_limits);
  statement.Bind(1, std::string_view(settings.name))
      .Bind(2, std::string_view(settings.bank.display_name))
      .Bind(3, settings.bank.token_budget)
      .Bind(4, settings.next_number)
      .Bind(5, settings.revision)
      .Bind(6, SettingsHash(settings, kCatalogVersion))
      .Bind(7, std::string_view(limits))
      .Bind(8, NameOf(settings.bank.router_key_scan));
  return statement.Run();
}

}  // namespace msa::engine
