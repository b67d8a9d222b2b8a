#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/memory/documents/encoded_document.h"

// The bytes of a segment file; docs/memory_bank_format.md describes them. Everything is little
// endian, every section starts at a multiple of 64.
namespace msa::engine {

inline constexpr std::array<char, 8> kSegmentMagic = {'M', 'S', 'A', 'S', 'E', 'G', '\r', '\n'};
inline constexpr std::array<char, 8> kSegmentFooterMagic = {'M', 'S', 'A', 'S',
                                                            'E', 'G', 'F', '\n'};
inline constexpr uint32_t kSegmentVersion = 1;
inline constexpr uint64_t kSegmentAlignment = 64;
inline constexpr uint64_t kSegmentHeaderBytes = 384;
inline constexpr uint64_t kSegmentDocumentBytes = 32;
inline constexpr uint64_t kSegmentFooterBytes = 64;
inline constexpr size_t kMaxFingerprintBytes = 128;
inline constexpr size_t kMaxInstructionSetBytes = 32;

// Where the sections are. A function of geometry and counts alone.
struct SegmentLayout {
  uint64_t document_table = 0;  // [N] SegmentDocument
  uint64_t router_keys = 0;     // [layer, C, W]
  uint64_t content = 0;         // [document][layer, its chunks, 2, W]: C chunks in all
  uint64_t checksums = 0;  // u64: content [N, layer], router keys [N, layer], router keys [layer]
  uint64_t footer = 0;
  uint64_t file_bytes = 0;
};

// INVALID_ARGUMENT where a size does not fit into 63 bits or a count is 0.
absl::StatusOr<SegmentLayout> LayOutSegment(const MemoryGeometry& geometry, uint64_t num_documents,
                                            uint64_t num_chunks);

struct SegmentHeader {
  uint64_t segment_id = 0;
  MemoryGeometry geometry;
  uint64_t num_documents = 0;  // N
  uint64_t num_chunks = 0;     // C
};

// One row of the document table.
struct SegmentDocument {
  uint32_t number = 0;
  uint32_t num_tokens = 0;
  uint32_t num_chunks = 0;
  uint64_t first_chunk = 0;  // among the segment's chunks
  uint64_t text_hash = 0;    // XXH3-64 of the text that was encoded
};

struct SegmentFooter {
  uint64_t header_checksum = 0;
  uint64_t document_table_checksum = 0;
  uint64_t checksums_checksum = 0;
  uint64_t file_bytes = 0;
};

// Writers fill exactly the constant sizes above.
void WriteSegmentHeader(const SegmentHeader& header, absl::Span<std::byte> out);
void WriteSegmentDocument(const SegmentDocument& document, absl::Span<std::byte> out);
void WriteSegmentFooter(const SegmentFooter& footer, absl::Span<std::byte> out);

// DATA_LOSS where the bytes are not what a writer of this version writes. FAILED_PRECONDITION
// (reason UNKNOWN_FORMAT_VERSION) where the header is intact but of another version.
absl::StatusOr<SegmentHeader> ReadSegmentHeader(absl::Span<const std::byte> bytes);
absl::StatusOr<SegmentDocument> ReadSegmentDocument(absl::Span<const std::byte> bytes);
absl::StatusOr<SegmentFooter> ReadSegmentFooter(absl::Span<const std::byte> bytes);

}  // namespace msa::engine
