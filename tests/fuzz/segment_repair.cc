#include "tests/fuzz/segment_repair.h"

#include <algorithm>

#include "engine/memory/files/checksum.h"
#include "engine/memory/files/little_endian.h"
#include "engine/memory/segments/segment_format.h"

namespace msa::engine {
namespace {

// As docs/memory_bank_format.md has them.
constexpr size_t kNumDocumentsAt = 40;
constexpr size_t kNumChunksAt = 48;
constexpr uint64_t kMostDocuments = 12;
constexpr uint32_t kMostTokens = 64;

using Bytes = absl::Span<std::byte>;

void StoreChecksum(Bytes of, std::byte* at) { StoreLittleEndian(Checksum(of), at); }

// Rows that follow from their tokens; returns their chunks.
uint64_t RepairTable(const MemoryGeometry& geometry, std::minstd_rand* random, Bytes table) {
  uint64_t num_chunks = 0;
  for (size_t at = 0; at < table.size(); at += kSegmentDocumentBytes) {
    const Bytes row = table.subspan(at, kSegmentDocumentBytes);
    SegmentDocument document = *ReadSegmentDocument(row);
    if ((*random)() % 16 != 0) document.number = static_cast<uint32_t>(at);
    document.num_tokens = 1 + document.num_tokens % kMostTokens;
    document.num_chunks = static_cast<uint32_t>(geometry.ChunksOf(document.num_tokens));
    document.first_chunk = num_chunks;
    num_chunks += document.num_chunks;
    WriteSegmentDocument(document, row);
  }
  return num_chunks;
}

// Checksums of some of the blocks.
void RepairBlocks(const SegmentHeader& header, const SegmentLayout& layout,
                  std::minstd_rand* random, Bytes file) {
  const auto layers = static_cast<size_t>(header.geometry.num_msa_layers);
  const size_t key_bytes =
      static_cast<size_t>(header.geometry.router_key_bytes_per_chunk()) / layers;
  std::byte* const checksums = &file[layout.checksums];
  const size_t num_blocks = header.num_documents * layers;
  const size_t layer_bytes = header.num_chunks * key_bytes;
  for (size_t i = 0; i < header.num_documents; ++i) {
    const SegmentDocument row = *ReadSegmentDocument(
        file.subspan(layout.document_table + i * kSegmentDocumentBytes, kSegmentDocumentBytes));
    for (size_t layer = 0; layer < layers; ++layer) {
      if ((*random)() % 8 == 0) continue;
      const size_t size = row.num_chunks * key_bytes;
      const size_t content = layout.content + row.first_chunk * layers * 2 * key_bytes;
      const size_t keys = layout.router_keys + layer * layer_bytes + row.first_chunk * key_bytes;
      const size_t block = i * layers + layer;
      StoreChecksum(file.subspan(content + layer * 2 * size, 2 * size), checksums + 8 * block);
      StoreChecksum(file.subspan(keys, size), checksums + 8 * (num_blocks + block));
    }
  }
  for (size_t layer = 0; layer < layers; ++layer) {
    if ((*random)() % 4 == 0) continue;
    StoreChecksum(file.subspan(layout.router_keys + layer * layer_bytes, layer_bytes),
                  checksums + 8 * (2 * num_blocks + layer));
  }
}

}  // namespace

MemoryGeometry FuzzGeometry() {
  return {.num_msa_layers = 3,
          .kv_width = 4,
          .tokens_per_chunk = 8,
          .dtype = kernels::DType::kBF16,
          .model_fingerprint = "test-model",
          .instruction_set = "avx2"};
}

void RepairSegment(std::minstd_rand* random, size_t max_bytes, std::vector<std::byte>* bytes) {
  const auto usually = [&] { return (*random)() % 16 != 0; };
  if (bytes->size() < kSegmentHeaderBytes + kSegmentFooterBytes) return;
  // The header as it is but for its checksum: version, dtype, texts and offsets of any kind.
  if ((*random)() % 8 == 0) {
    StoreChecksum(Bytes(*bytes).first(kSegmentHeaderBytes - 8), &(*bytes)[kSegmentHeaderBytes - 8]);
    return;
  }
  SegmentHeader header;
  header.segment_id = kFuzzSegmentId;
  header.geometry = FuzzGeometry();
  header.num_documents =
      1 + (LoadLittleEndian<uint64_t>(&(*bytes)[kNumDocumentsAt]) - 1) % kMostDocuments;
  const size_t table_bytes = header.num_documents * kSegmentDocumentBytes;
  if (bytes->size() < kSegmentHeaderBytes + table_bytes) return;
  const uint64_t consistent =
      RepairTable(header.geometry, random, Bytes(*bytes).subspan(kSegmentHeaderBytes, table_bytes));
  const bool is_consistent = usually();
  header.num_chunks =
      is_consistent ? consistent
                    : 1 + LoadLittleEndian<uint64_t>(&(*bytes)[kNumChunksAt]) % (2 * consistent);
  const SegmentLayout layout =
      *LayOutSegment(header.geometry, header.num_documents, header.num_chunks);
  if (layout.file_bytes > max_bytes) return;
  bytes->resize(layout.file_bytes);
  const Bytes file(*bytes);
  WriteSegmentHeader(header, file.first(kSegmentHeaderBytes));
  if (is_consistent && usually()) RepairBlocks(header, layout, random, file);
  if ((*random)() % 16 == 0) {  // a row that is not consistent, under a right checksum
    file[kSegmentHeaderBytes + (*random)() % table_bytes] ^= std::byte{1};
  }
  SegmentFooter footer;
  footer.header_checksum = Checksum(file.first(kSegmentHeaderBytes));
  footer.document_table_checksum = Checksum(file.subspan(kSegmentHeaderBytes, table_bytes));
  footer.checksums_checksum = Checksum(
      file.subspan(layout.checksums,
                   ((2 * header.num_documents + 1) *
                    static_cast<uint64_t>(header.geometry.num_msa_layers) * sizeof(uint64_t))));
  footer.file_bytes = layout.file_bytes;
  if (usually()) WriteSegmentFooter(footer, file.last(kSegmentFooterBytes));
}

}  // namespace msa::engine
