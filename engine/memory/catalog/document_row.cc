#include "engine/memory/catalog/document_row.h"

#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/documents/metadata_json.h"
#include "engine/memory/files/checksum.h"
#include "engine/memory/files/little_endian.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

// What is hashed of a row: numbers in eight bytes each, texts with their length before them.
class RowBytes {
 public:
  RowBytes() { bytes_.reserve(512); }
  RowBytes& Add(uint64_t value) {
    std::array<std::byte, sizeof(value)> bytes;
    StoreLittleEndian(value, bytes.data());
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return *this;
  }
  RowBytes& Add(int64_t value) { return Add(static_cast<uint64_t>(value)); }
  RowBytes& Add(std::string_view text) {
    Add(uint64_t{text.size()});
    bytes_.append(text);
    return *this;
  }
  uint64_t Hash() const { return Checksum(bytes_); }

 private:
  std::string bytes_;
};

// The id may be damaged too.
absl::Status Damaged(const DocumentRow& row, const std::string& what) {
  const std::string id = absl::Utf8SafeCEscape(row.id);
  return kernels::Refusal(absl::StatusCode::kDataLoss,
                          absl::StrCat("catalog, document ", row.number, " (\"", id, "\"): ", what),
                          "CATALOG_DAMAGED", "",
                          {{"document_number", absl::StrCat(row.number)}, {"document_id", id}});
}

}  // namespace

uint64_t RowHash(const DocumentRow& row) {
  return RowBytes()
      .Add(uint64_t{row.number})
      .Add(std::string_view(row.id))
      .Add(static_cast<int64_t>(row.state))
      .Add(std::string_view(row.metadata_json))
      .Add(row.num_tokens)
      .Add(row.num_chunks)
      .Add(row.text_bytes)
      .Add(row.text_hash)
      .Add(row.from_revision)
      .Add(row.to_revision)
      .Add(row.segment)
      .Add(row.document_in_segment)
      .Add(absl::ToUnixMicros(row.create_time))
      .Add(static_cast<int64_t>(row.failure.code()))
      .Add(kernels::ToStd(row.failure.message()))
      .Hash();
}

void BindRow(const DocumentRow& row, SqliteStatement* statement) {
  statement->Bind(1, int64_t{row.number})
      .Bind(2, std::string_view(row.id))
      .Bind(3, static_cast<int64_t>(row.state))
      .Bind(4, std::string_view(row.metadata_json))
      .Bind(5, row.num_tokens)
      .Bind(6, row.num_chunks)
      .Bind(7, row.text_bytes)
      .Bind(8, row.text_hash)
      .Bind(9, row.from_revision)
      .Bind(10, row.to_revision)
      .Bind(11, row.segment)
      .Bind(12, row.document_in_segment)
      .Bind(13, absl::ToUnixMicros(row.create_time))
      .Bind(14, static_cast<int64_t>(row.failure.code()))
      .Bind(15, kernels::ToStd(row.failure.message()))
      .Bind(16, RowHash(row));
}

absl::StatusOr<DocumentRow> ReadRow(const SqliteStatement& statement) {
  DocumentRow row;
  row.number = static_cast<uint32_t>(statement.Int(0));
  row.id = statement.Text(1);
  row.state = static_cast<DocumentState>(statement.Int(2));
  row.metadata_json = statement.Text(3);
  row.num_tokens = statement.Int(4);
  row.num_chunks = statement.Int(5);
  row.text_bytes = statement.Int(6);
  row.text_hash = statement.Bits(7);
  row.from_revision = statement.Bits(8);
  row.to_revision = statement.Bits(9);
  row.segment = statement.Bits(10);
  row.document_in_segment = statement.Int(11);
  row.create_time = absl::FromUnixMicros(statement.Int(12));
  row.failure = absl::Status(static_cast<absl::StatusCode>(statement.Int(13)), statement.Text(14));
  const bool is_intact = statement.IsText(1) && RowHash(row) == statement.Bits(15);
  if (!is_intact) return Damaged(row, "the row is damaged");
  return row;
}

absl::Status CheckText(const DocumentRow& row, std::string_view text) {
  if (text.size() == static_cast<uint64_t>(row.text_bytes) && Checksum(text) == row.text_hash) {
    return absl::OkStatus();
  }
  return Damaged(row, "the text is damaged");
}

absl::StatusOr<DocumentInfo> InfoOf(const DocumentRow& row) {
  auto metadata = MetadataFromJson(row.metadata_json);
  if (!metadata.ok()) return Damaged(row, std::string(metadata.status().message()));
  DocumentInfo info;
  info.id = row.id;
  info.number = row.number;
  info.state = row.state;
  info.metadata = *std::move(metadata);
  info.num_tokens = row.num_tokens;
  info.num_chunks = row.num_chunks;
  info.text_bytes = row.text_bytes;
  info.revision = row.from_revision;
  info.create_time = row.create_time;
  info.failure = row.failure;
  return info;
}

}  // namespace msa::engine
