#include "engine/memory/segments/segment_format.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/memory/files/checksum.h"
#include "engine/memory/files/little_endian.h"
#include "kernels/core/check.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

// Byte offsets in the header.
constexpr size_t kVersionAt = 8;
constexpr size_t kHeaderBytesAt = 12;
constexpr size_t kSegmentIdAt = 16;
constexpr size_t kNumLayersAt = 24;
constexpr size_t kKvWidthAt = 28;
constexpr size_t kTokensPerChunkAt = 32;
constexpr size_t kDTypeAt = 36;
constexpr size_t kNumDocumentsAt = 40;
constexpr size_t kNumChunksAt = 48;
constexpr size_t kSectionsAt = 56;  // the six numbers of SegmentLayout
constexpr size_t kFingerprintAt = 128;
constexpr size_t kInstructionSetAt = kFingerprintAt + kMaxFingerprintBytes;
constexpr size_t kHeaderChecksumAt = kSegmentHeaderBytes - 8;

// Byte offsets in the footer.
constexpr size_t kFooterChecksumAt = kSegmentFooterBytes - 8;

// Sums and products that remember an overflow.
class CheckedSize {
 public:
  explicit CheckedSize(uint64_t value) : value_(value) {}
  CheckedSize& Add(uint64_t other) {
    overflow_ |= __builtin_add_overflow(value_, other, &value_);
    return *this;
  }
  CheckedSize& Multiply(uint64_t other) {
    overflow_ |= __builtin_mul_overflow(value_, other, &value_);
    return *this;
  }
  CheckedSize& AlignUp() {
    Add(kSegmentAlignment - 1);
    value_ &= ~(kSegmentAlignment - 1);
    return *this;
  }
  bool ok() const { return !overflow_ && value_ <= uint64_t{INT64_MAX}; }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_;
  bool overflow_ = false;
};

void StoreText(const std::string& text, size_t width, std::byte* out) {
  MSA_CHECK(text.size() <= width, "text is wider than its field");
  std::memset(out, 0, width);
  std::memcpy(out, text.data(), text.size());
}

std::string LoadText(const std::byte* bytes, size_t width) {
  const char* begin = reinterpret_cast<const char*>(bytes);
  return std::string(begin, std::find(begin, begin + width, '\0'));
}

std::array<uint64_t, 6> SectionsOf(const SegmentLayout& layout) {
  return {layout.document_table, layout.router_keys, layout.content,
          layout.checksums,      layout.footer,      layout.file_bytes};
}

bool HasMagic(absl::Span<const std::byte> bytes, const std::array<char, 8>& magic) {
  return std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

}  // namespace

absl::StatusOr<SegmentLayout> LayOutSegment(const MemoryGeometry& geometry, uint64_t num_documents,
                                            uint64_t num_chunks) {
  const bool has_shape = geometry.num_msa_layers > 0 && geometry.kv_width > 0 &&
                         geometry.tokens_per_chunk > 0 && num_documents > 0 && num_chunks > 0;
  if (!has_shape) return absl::InvalidArgumentError("a segment without layers, width or documents");
  const auto layers = static_cast<uint64_t>(geometry.num_msa_layers);
  CheckedSize keys(num_chunks);
  keys.Multiply(layers)
      .Multiply(static_cast<uint64_t>(geometry.kv_width))
      .Multiply(kernels::SizeOf(geometry.dtype));
  CheckedSize content(keys.value());
  content.Multiply(2);
  CheckedSize table(num_documents);
  table.Multiply(kSegmentDocumentBytes);
  CheckedSize checksums(num_documents);
  checksums.Multiply(2).Add(1).Multiply(layers).Multiply(sizeof(uint64_t));

  SegmentLayout layout;
  CheckedSize end(kSegmentHeaderBytes);
  layout.document_table = end.AlignUp().value();
  layout.router_keys = end.Add(table.value()).AlignUp().value();
  layout.content = end.Add(keys.value()).AlignUp().value();
  layout.checksums = end.Add(content.value()).AlignUp().value();
  layout.footer = end.Add(checksums.value()).AlignUp().value();
  layout.file_bytes = end.Add(kSegmentFooterBytes).value();
  if (!keys.ok() || !content.ok() || !table.ok() || !checksums.ok() || !end.ok()) {
    return absl::InvalidArgumentError("a segment's sizes overflow");
  }
  return layout;
}

void WriteSegmentHeader(const SegmentHeader& header, absl::Span<std::byte> out) {
  MSA_CHECK(out.size() == kSegmentHeaderBytes, "header size");
  const auto layout = LayOutSegment(header.geometry, header.num_documents, header.num_chunks);
  MSA_CHECK(layout.ok(), "a segment is laid out before its header is written");
  std::fill(out.begin(), out.end(), std::byte{0});
  std::memcpy(out.data(), kSegmentMagic.data(), kSegmentMagic.size());
  StoreLittleEndian(kSegmentVersion, &out[kVersionAt]);
  StoreLittleEndian(uint32_t{kSegmentHeaderBytes}, &out[kHeaderBytesAt]);
  StoreLittleEndian(header.segment_id, &out[kSegmentIdAt]);
  const MemoryGeometry& geometry = header.geometry;
  StoreLittleEndian(static_cast<uint32_t>(geometry.num_msa_layers), &out[kNumLayersAt]);
  StoreLittleEndian(static_cast<uint32_t>(geometry.kv_width), &out[kKvWidthAt]);
  StoreLittleEndian(static_cast<uint32_t>(geometry.tokens_per_chunk), &out[kTokensPerChunkAt]);
  StoreLittleEndian(static_cast<uint32_t>(geometry.dtype), &out[kDTypeAt]);
  StoreLittleEndian(header.num_documents, &out[kNumDocumentsAt]);
  StoreLittleEndian(header.num_chunks, &out[kNumChunksAt]);
  size_t at = kSectionsAt;
  for (const uint64_t section : SectionsOf(*layout)) {
    StoreLittleEndian(section, &out[at]);
    at += sizeof(section);
  }
  StoreText(geometry.model_fingerprint, kMaxFingerprintBytes, &out[kFingerprintAt]);
  StoreText(geometry.instruction_set, kMaxInstructionSetBytes, &out[kInstructionSetAt]);
  StoreLittleEndian(Checksum(out.first(kHeaderChecksumAt)), &out[kHeaderChecksumAt]);
}

absl::StatusOr<SegmentHeader> ReadSegmentHeader(absl::Span<const std::byte> bytes) {
  if (bytes.size() < kSegmentHeaderBytes)
    return absl::DataLossError("the file has no whole header");
  bytes = bytes.first(kSegmentHeaderBytes);
  if (!HasMagic(bytes, kSegmentMagic)) return absl::DataLossError("the file is no segment");
  if (LoadLittleEndian<uint64_t>(&bytes[kHeaderChecksumAt]) !=
      Checksum(bytes.first(kHeaderChecksumAt))) {
    return absl::DataLossError("the header's checksum is wrong");
  }
  const auto version = LoadLittleEndian<uint32_t>(&bytes[kVersionAt]);
  if (version != kSegmentVersion) {
    return kernels::Refusal(
        absl::StatusCode::kFailedPrecondition,
        absl::StrCat("segment format version ", version, " is unknown, this server reads version ",
                     kSegmentVersion),
        "UNKNOWN_FORMAT_VERSION");
  }
  const auto dtype = LoadLittleEndian<uint32_t>(&bytes[kDTypeAt]);
  if (dtype > static_cast<uint32_t>(kernels::DType::kBF16)) {
    return absl::DataLossError(absl::StrCat("unknown dtype ", dtype));
  }
  SegmentHeader header;
  header.segment_id = LoadLittleEndian<uint64_t>(&bytes[kSegmentIdAt]);
  MemoryGeometry& geometry = header.geometry;
  geometry.num_msa_layers = LoadLittleEndian<uint32_t>(&bytes[kNumLayersAt]);
  geometry.kv_width = LoadLittleEndian<uint32_t>(&bytes[kKvWidthAt]);
  geometry.tokens_per_chunk = LoadLittleEndian<uint32_t>(&bytes[kTokensPerChunkAt]);
  geometry.dtype = static_cast<kernels::DType>(dtype);
  geometry.model_fingerprint = LoadText(&bytes[kFingerprintAt], kMaxFingerprintBytes);
  geometry.instruction_set = LoadText(&bytes[kInstructionSetAt], kMaxInstructionSetBytes);
  header.num_documents = LoadLittleEndian<uint64_t>(&bytes[kNumDocumentsAt]);
  header.num_chunks = LoadLittleEndian<uint64_t>(&bytes[kNumChunksAt]);
  const auto layout = LayOutSegment(geometry, header.num_documents, header.num_chunks);
  if (!layout.ok()) return absl::DataLossError(layout.status().message());
  size_t at = kSectionsAt;
  for (const uint64_t section : SectionsOf(*layout)) {
    if (LoadLittleEndian<uint64_t>(&bytes[at]) != section) {
      return absl::DataLossError("the header's offsets do not follow from its counts");
    }
    at += sizeof(section);
  }
  return header;
}

void WriteSegmentDocument(const SegmentDocument& document, absl::Span<std::byte> out) {
  MSA_CHECK(out.size() == kSegmentDocumentBytes, "document row size");
  StoreLittleEndian(document.number, &out[0]);
  StoreLittleEndian(document.num_tokens, &out[4]);
  StoreLittleEndian(document.num_chunks, &out[8]);
  StoreLittleEndian(uint32_t{0}, &out[12]);
  StoreLittleEndian(document.first_chunk, &out[16]);
  StoreLittleEndian(document.text_hash, &out[24]);
}

absl::StatusOr<SegmentDocument> ReadSegmentDocument(absl::Span<const std::byte> bytes) {
  if (bytes.size() != kSegmentDocumentBytes) return absl::DataLossError("document row size");
  SegmentDocument document;
  document.number = LoadLittleEndian<uint32_t>(&bytes[0]);
  document.num_tokens = LoadLittleEndian<uint32_t>(&bytes[4]);
  document.num_chunks = LoadLittleEndian<uint32_t>(&bytes[8]);
  document.first_chunk = LoadLittleEndian<uint64_t>(&bytes[16]);
  document.text_hash = LoadLittleEndian<uint64_t>(&bytes[24]);
  return document;
}

void WriteSegmentFooter(const SegmentFooter& footer, absl::Span<std::byte> out) {
  MSA_CHECK(out.size() == kSegmentFooterBytes, "footer size");
  std::fill(out.begin(), out.end(), std::byte{0});
  std::memcpy(out.data(), kSegmentFooterMagic.data(), kSegmentFooterMagic.size());
  StoreLittleEndian(footer.header_checksum, &out[8]);
  StoreLittleEndian(footer.document_table_checksum, &out[16]);
  StoreLittleEndian(footer.checksums_checksum, &out[24]);
  StoreLittleEndian(footer.file_bytes, &out[32]);
  StoreLittleEndian(Checksum(out.first(kFooterChecksumAt)), &out[kFooterChecksumAt]);
}

absl::StatusOr<SegmentFooter> ReadSegmentFooter(absl::Span<const std::byte> bytes) {
  if (bytes.size() != kSegmentFooterBytes || !HasMagic(bytes, kSegmentFooterMagic)) {
    return absl::DataLossError("the file does not end with a segment's footer");
  }
  if (LoadLittleEndian<uint64_t>(&bytes[kFooterChecksumAt]) !=
      Checksum(bytes.first(kFooterChecksumAt))) {
    return absl::DataLossError("the footer's checksum is wrong");
  }
  SegmentFooter footer;
  footer.header_checksum = LoadLittleEndian<uint64_t>(&bytes[8]);
  footer.document_table_checksum = LoadLittleEndian<uint64_t>(&bytes[16]);
  footer.checksums_checksum = LoadLittleEndian<uint64_t>(&bytes[24]);
  footer.file_bytes = LoadLittleEndian<uint64_t>(&bytes[32]);
  return footer;
}

}  // namespace msa::engine
