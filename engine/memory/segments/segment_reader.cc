#include "engine/memory/segments/segment_reader.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/files/checksum.h"
#include "engine/memory/files/little_endian.h"
#include "kernels/core/check.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

std::string Describe(const MemoryGeometry& geometry) {
  return absl::StrCat("model ", geometry.model_fingerprint, ", ", geometry.num_msa_layers,
                      " layers of width ", geometry.kv_width, ", ", geometry.tokens_per_chunk,
                      " tokens per chunk, ", kernels::ToAbsl(kernels::NameOf(geometry.dtype)));
}

absl::Status CheckSameModel(const MemoryGeometry& found, const MemoryGeometry& expected) {
  if (found.num_msa_layers == expected.num_msa_layers && found.kv_width == expected.kv_width &&
      found.tokens_per_chunk == expected.tokens_per_chunk && found.dtype == expected.dtype &&
      found.model_fingerprint == expected.model_fingerprint) {
    return absl::OkStatus();
  }
  return kernels::Refusal(absl::StatusCode::kFailedPrecondition,
                          absl::StrCat("the segment was written for ", Describe(found),
                                       "; this server runs ", Describe(expected)),
                          "MODEL_MISMATCH");
}

absl::StatusOr<std::vector<std::byte>> ReadBytes(const ReadableFile& file, uint64_t offset,
                                                 uint64_t size) {
  std::vector<std::byte> bytes(size);
  MSA_RETURN_IF_ERROR(file.ReadAt(offset, absl::MakeSpan(bytes)));
  return bytes;
}

}  // namespace

bool IsSegmentDamage(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
}

SegmentReader::SegmentReader(std::shared_ptr<SegmentFiles> files, DamageHandler on_damage)
    : files_(std::move(files)), on_damage_(std::move(on_damage)) {}

absl::StatusOr<std::unique_ptr<SegmentReader>> SegmentReader::Open(
    std::shared_ptr<SegmentFiles> files, uint64_t segment_id, const MemoryGeometry& expected,
    DamageHandler on_damage) {
  const std::string path = files->PathOf(segment_id);
  std::unique_ptr<SegmentReader> reader(new SegmentReader(std::move(files), std::move(on_damage)));
  const absl::Status status = reader->Load(segment_id, expected);
  if (!status.ok()) return kernels::Prefixed(status, path);
  return reader;
}

absl::Status SegmentReader::Load(uint64_t segment_id, const MemoryGeometry& expected) {
  MSA_ASSIGN_OR_RETURN(const auto file, files_->Open(segment_id));
  if (file->size() < kSegmentHeaderBytes + kSegmentFooterBytes) {
    return absl::DataLossError(absl::StrCat("the file has only ", file->size(), " bytes"));
  }
  MSA_ASSIGN_OR_RETURN(const auto header_bytes, ReadBytes(*file, 0, kSegmentHeaderBytes));
  MSA_ASSIGN_OR_RETURN(header_, ReadSegmentHeader(header_bytes));
  if (header_.segment_id != segment_id) {
    return absl::DataLossError(absl::StrCat("the file holds segment ", header_.segment_id));
  }
  MSA_RETURN_IF_ERROR(CheckSameModel(header_.geometry, expected));
  MSA_ASSIGN_OR_RETURN(layout_,
                       LayOutSegment(header_.geometry, header_.num_documents, header_.num_chunks));
  if (file->size() != layout_.file_bytes) {
    return absl::DataLossError(
        absl::StrCat("the file has ", file->size(), " bytes, expected ", layout_.file_bytes));
  }
  MSA_ASSIGN_OR_RETURN(const auto footer_bytes,
                       ReadBytes(*file, layout_.footer, kSegmentFooterBytes));
  MSA_ASSIGN_OR_RETURN(const SegmentFooter footer, ReadSegmentFooter(footer_bytes));
  if (footer.file_bytes != layout_.file_bytes || footer.header_checksum != Checksum(header_bytes)) {
    return absl::DataLossError("header and footer do not belong together");
  }
  return LoadTables(*file, footer);
}

absl::Status SegmentReader::LoadTables(const ReadableFile& file, const SegmentFooter& footer) {
  const uint64_t num_documents = header_.num_documents;
  MSA_ASSIGN_OR_RETURN(const auto table, ReadBytes(file, layout_.document_table,
                                                   num_documents * kSegmentDocumentBytes));
  if (Checksum(table) != footer.document_table_checksum) {
    return absl::DataLossError("the document table's checksum is wrong");
  }
  absl::flat_hash_set<uint32_t> numbers;
  uint64_t num_chunks = 0;
  documents_.reserve(num_documents);
  for (uint64_t i = 0; i < num_documents; ++i) {
    const auto row =
        absl::MakeConstSpan(table).subspan(i * kSegmentDocumentBytes, kSegmentDocumentBytes);
    MSA_ASSIGN_OR_RETURN(const SegmentDocument document, ReadSegmentDocument(row));
    const bool consistent = document.first_chunk == num_chunks && document.num_tokens > 0 &&
                            document.num_chunks == header_.geometry.ChunksOf(document.num_tokens) &&
                            numbers.insert(document.number).second;
    if (!consistent) {
      return absl::DataLossError(
          absl::StrCat("row ", i, " of the document table is not consistent"));
    }
    num_chunks += document.num_chunks;
    documents_.push_back(document);
  }
  if (num_chunks != header_.num_chunks) {
    return absl::DataLossError("the document table's chunks do not add up");
  }
  const auto num_layers = static_cast<uint64_t>(header_.geometry.num_msa_layers);
  const uint64_t num_blocks = num_documents * num_layers;
  MSA_ASSIGN_OR_RETURN(
      const auto checksums,
      ReadBytes(file, layout_.checksums, (2 * num_blocks + num_layers) * sizeof(uint64_t)));
  if (Checksum(checksums) != footer.checksums_checksum) {
    return absl::DataLossError("the checksum table's checksum is wrong");
  }
  const std::byte* next = checksums.data();
  const auto take = [&](uint64_t count, std::vector<uint64_t>* out) {
    out->reserve(count);
    for (uint64_t i = 0; i < count; ++i, next += sizeof(uint64_t)) {
      out->push_back(LoadLittleEndian<uint64_t>(next));
    }
  };
  take(num_blocks, &content_checksums_);
  take(num_blocks, &document_key_checksums_);
  take(num_layers, &layer_key_checksums_);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::vector<std::byte>>> SegmentReader::TakeRouterKeys(
    const std::vector<bool>& wanted) {
  MSA_CHECK(wanted.size() == documents_.size(), "one flag per document");
  MSA_CHECK(!layer_key_checksums_.empty(), "router keys are taken once");
  const auto num_layers = static_cast<size_t>(header_.geometry.num_msa_layers);
  const auto chunk_bytes = static_cast<size_t>(header_.geometry.router_key_bytes_per_chunk()) /
                           num_layers;  // of one layer
  const size_t layer_bytes = header_.num_chunks * chunk_bytes;
  std::vector<std::vector<std::byte>> keys(documents_.size());
  std::vector<bool> damaged(documents_.size());
  for (size_t i = 0; i < documents_.size(); ++i) {
    if (wanted[i]) keys[i].reserve(num_layers * documents_[i].num_chunks * chunk_bytes);
  }
  MSA_ASSIGN_OR_RETURN(const auto file, files_->Open(segment_id()));
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(layer_bytes);
  const absl::Span<std::byte> bytes(buffer.get(), layer_bytes);
  for (size_t layer = 0; layer < num_layers; ++layer) {
    const absl::Status read = file->ReadAt(layout_.router_keys + layer * layer_bytes, bytes);
    if (!read.ok()) return kernels::Prefixed(read, files_->PathOf(segment_id()));
    const bool intact = Checksum(bytes) == layer_key_checksums_[layer];
    for (size_t i = 0; i < documents_.size(); ++i) {
      if (!wanted[i]) continue;
      const size_t size = documents_[i].num_chunks * chunk_bytes;
      const auto block = bytes.subspan(documents_[i].first_chunk * chunk_bytes, size);
      if (!intact && Checksum(block) != document_key_checksums_[i * num_layers + layer]) {
        damaged[i] = true;
      }
      keys[i].insert(keys[i].end(), block.begin(), block.end());
    }
  }
  for (size_t i = 0; i < documents_.size(); ++i) {
    if (damaged[i]) keys[i] = {};
  }
  DropRouterKeyChecksums();
  return keys;
}

void SegmentReader::DropRouterKeyChecksums() {
  document_key_checksums_ = {};
  layer_key_checksums_ = {};
}

absl::Status SegmentReader::Damaged(uint32_t number, absl::string_view why) const {
  if (on_damage_) on_damage_(number);
  const std::string segment = SegmentFiles::NameOf(segment_id());
  return kernels::Refusal(absl::StatusCode::kDataLoss,
                          absl::StrCat("segment ", segment, ", document ", number, ": ", why),
                          "SEGMENT_DAMAGED", "",
                          {{"segment", segment}, {"document_number", absl::StrCat(number)}});
}

absl::Status SegmentReader::ReadContent(size_t document, size_t layer,
                                        absl::Span<std::byte> out) const {
  MSA_CHECK(document < documents_.size(), "document of this segment");
  const auto num_layers = static_cast<size_t>(header_.geometry.num_msa_layers);
  const SegmentDocument& row = documents_[document];
  const auto chunk_bytes = static_cast<size_t>(header_.geometry.content_bytes_per_chunk());
  const size_t block_bytes = row.num_chunks * (chunk_bytes / num_layers);
  MSA_CHECK(layer < num_layers && out.size() == block_bytes, "one layer of one document");
  auto file = files_->Open(segment_id());
  if (absl::IsNotFound(file.status())) return Damaged(row.number, "the file is missing");
  MSA_RETURN_IF_ERROR(file.status());
  const uint64_t offset = layout_.content + row.first_chunk * chunk_bytes + layer * block_bytes;
  const absl::Status status = (*file)->ReadAt(offset, out);
  if (absl::IsDataLoss(status)) return Damaged(row.number, status.message());
  MSA_RETURN_IF_ERROR(status);
  if (Checksum(out) != content_checksums_[document * num_layers + layer]) {
    return Damaged(row.number, absl::StrCat("the content of layer ", layer, " is damaged"));
  }
  return absl::OkStatus();
}

absl::Status SegmentReader::VerifyBlocks(DamagedBlock damaged, Proceed proceed) {
  std::vector<bool> is_damaged(documents_.size());
  {
    MSA_ASSIGN_OR_RETURN(const auto keys,
                         TakeRouterKeys(std::vector<bool>(documents_.size(), true)));
    for (size_t i = 0; i < documents_.size(); ++i) {
      is_damaged[i] = keys[i].empty();
      if (is_damaged[i]) MSA_RETURN_IF_ERROR(damaged(i, "the router keys are damaged"));
    }
  }
  const auto num_layers = static_cast<size_t>(header_.geometry.num_msa_layers);
  const auto chunk_bytes = static_cast<size_t>(header_.geometry.content_bytes_per_chunk());
  std::vector<std::byte> content;
  for (size_t i = 0; i < documents_.size(); ++i) {
    const size_t content_bytes = documents_[i].num_chunks * chunk_bytes;
    content.resize(content_bytes / num_layers);
    for (size_t layer = 0; layer < num_layers && !is_damaged[i]; ++layer) {
      const absl::Status status = ReadContent(i, layer, absl::MakeSpan(content));
      is_damaged[i] = absl::IsDataLoss(status);
      if (is_damaged[i]) {
        MSA_RETURN_IF_ERROR(
            damaged(i, absl::StrCat("the content of layer ", layer, " is damaged")));
      } else {
        MSA_RETURN_IF_ERROR(status);
      }
    }
    MSA_RETURN_IF_ERROR(proceed(static_cast<int64_t>(content_bytes) * 3 / 2));  // with the keys
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
