#include "engine/memory/segments/segment_writer.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/memory/files/checksum.h"
#include "engine/memory/files/little_endian.h"
#include "engine/memory/segments/segment_format.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

using Bytes = absl::Span<const std::byte>;

constexpr size_t kWriteBytes = size_t{1} << 20;

// Gathers small pieces into large writes.
class BufferedFile {
 public:
  explicit BufferedFile(WritableFile* file) : file_(file) { buffer_.reserve(kWriteBytes); }

  absl::Status Append(Bytes bytes) {
    position_ += bytes.size();
    if (buffer_.size() + bytes.size() > kWriteBytes) MSA_RETURN_IF_ERROR(Flush());
    if (bytes.size() >= kWriteBytes) return file_->Append(bytes);
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return absl::OkStatus();
  }

  absl::Status PadTo(uint64_t position) {
    const std::vector<std::byte> zeros(position - position_);
    return Append(zeros);
  }

  absl::Status Flush() {
    if (buffer_.empty()) return absl::OkStatus();
    const absl::Status status = file_->Append(buffer_);
    buffer_.clear();
    return status;
  }

 private:
  WritableFile* const file_;
  std::vector<std::byte> buffer_;
  uint64_t position_ = 0;
};

// Layer `layer` of a document's router keys or content.
Bytes LayerOf(const std::vector<std::byte>& array, size_t num_layers, size_t layer) {
  const size_t bytes = array.size() / num_layers;
  return Bytes(array).subspan(layer * bytes, bytes);
}

class SegmentBytes {
 public:
  SegmentBytes(uint64_t segment_id, const MemoryGeometry& geometry,
               absl::Span<const SegmentInput> documents)
      : documents_(documents), num_layers_(static_cast<size_t>(geometry.num_msa_layers)) {
    header_.segment_id = segment_id;
    header_.geometry = geometry;
    header_.num_documents = documents.size();
    for (const SegmentInput& document : documents) {
      header_.num_chunks += static_cast<uint64_t>(document.encoded->num_chunks);
    }
  }

  absl::Status WriteTo(WritableFile* file) const {
    MSA_ASSIGN_OR_RETURN(
        const SegmentLayout layout,
        LayOutSegment(header_.geometry, header_.num_documents, header_.num_chunks));
    BufferedFile out(file);
    std::vector<std::byte> header(kSegmentHeaderBytes);
    WriteSegmentHeader(header_, absl::MakeSpan(header));
    MSA_RETURN_IF_ERROR(out.Append(header));
    MSA_RETURN_IF_ERROR(out.PadTo(layout.document_table));
    const std::vector<std::byte> table = DocumentTable();
    MSA_RETURN_IF_ERROR(out.Append(table));
    MSA_RETURN_IF_ERROR(out.PadTo(layout.router_keys));
    for (size_t layer = 0; layer < num_layers_; ++layer) {
      for (const SegmentInput& document : documents_) {
        const Bytes keys = LayerOf(document.encoded->router_keys, num_layers_, layer);
        MSA_RETURN_IF_ERROR(out.Append(keys));
      }
    }
    MSA_RETURN_IF_ERROR(out.PadTo(layout.content));
    for (const SegmentInput& document : documents_) {
      MSA_RETURN_IF_ERROR(out.Append(document.encoded->content));
    }
    MSA_RETURN_IF_ERROR(out.PadTo(layout.checksums));
    const std::vector<std::byte> checksums = Checksums();
    MSA_RETURN_IF_ERROR(out.Append(checksums));
    MSA_RETURN_IF_ERROR(out.PadTo(layout.footer));
    std::vector<std::byte> footer(kSegmentFooterBytes);
    WriteSegmentFooter({.header_checksum = Checksum(Bytes(header)),
                        .document_table_checksum = Checksum(Bytes(table)),
                        .checksums_checksum = Checksum(Bytes(checksums)),
                        .file_bytes = layout.file_bytes},
                       absl::MakeSpan(footer));
    MSA_RETURN_IF_ERROR(out.Append(footer));
    return out.Flush();
  }

 private:
  std::vector<std::byte> DocumentTable() const {
    std::vector<std::byte> table(documents_.size() * kSegmentDocumentBytes);
    SegmentDocument row;
    for (size_t i = 0; i < documents_.size(); ++i) {
      row.number = documents_[i].number;
      row.num_tokens = static_cast<uint32_t>(documents_[i].encoded->num_tokens);
      row.num_chunks = static_cast<uint32_t>(documents_[i].encoded->num_chunks);
      row.text_hash = documents_[i].text_hash;
      WriteSegmentDocument(
          row, absl::MakeSpan(table).subspan(i * kSegmentDocumentBytes, kSegmentDocumentBytes));
      row.first_chunk += row.num_chunks;
    }
    return table;
  }

  std::vector<std::byte> Checksums() const {
    std::vector<std::byte> bytes;
    const auto add = [&](uint64_t checksum) {
      bytes.resize(bytes.size() + sizeof(checksum));
      StoreLittleEndian(checksum, &bytes[bytes.size() - sizeof(checksum)]);
    };
    for (const SegmentInput& document : documents_) {
      for (size_t layer = 0; layer < num_layers_; ++layer) {
        add(Checksum(LayerOf(document.encoded->content, num_layers_, layer)));
      }
    }
    std::vector<RunningChecksum> layers(num_layers_);
    for (const SegmentInput& document : documents_) {
      for (size_t layer = 0; layer < num_layers_; ++layer) {
        const Bytes keys = LayerOf(document.encoded->router_keys, num_layers_, layer);
        add(Checksum(keys));
        layers[layer].Add(keys);
      }
    }
    for (const RunningChecksum& layer : layers) add(layer.Value());
    return bytes;
  }

  const absl::Span<const SegmentInput> documents_;
  const size_t num_layers_;
  SegmentHeader header_;
};

absl::Status WriteAndSync(FileSystem* files, const std::string& path, const SegmentBytes& bytes) {
  MSA_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, files->CreateForWrite(path));
  MSA_RETURN_IF_ERROR(bytes.WriteTo(file.get()));
  MSA_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

}  // namespace

absl::Status WriteSegment(const SegmentFiles& files, uint64_t segment_id,
                          const MemoryGeometry& geometry,
                          absl::Span<const SegmentInput> documents) {
  FileSystem* const file_system = files.file_system();
  const std::string path = files.PathOf(segment_id);
  const std::string temporary = path + std::string(kTemporarySuffix);
  absl::Status status =
      WriteAndSync(file_system, temporary, SegmentBytes(segment_id, geometry, documents));
  if (status.ok()) status = file_system->Rename(temporary, path);
  if (!status.ok()) {
    file_system->Remove(temporary).IgnoreError();
    return status;
  }
  status = file_system->SyncDirectory(files.directory());
  if (!status.ok()) file_system->Remove(path).IgnoreError();
  return status;
}

absl::Status CheckEncoded(const EncodedDocument& encoded, int64_t num_tokens,
                          const MemoryGeometry& geometry) {
  const int64_t num_chunks = geometry.ChunksOf(num_tokens);
  const auto key_bytes = static_cast<size_t>(num_chunks * geometry.router_key_bytes_per_chunk());
  if (encoded.num_tokens == num_tokens && encoded.num_chunks == num_chunks &&
      encoded.router_keys.size() == key_bytes && encoded.content.size() == 2 * key_bytes) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat(
      "the encoder returned ", encoded.num_tokens, " tokens, ", encoded.num_chunks, " chunks, ",
      encoded.router_keys.size(), " and ", encoded.content.size(), " bytes; expected ", num_tokens,
      ", ", num_chunks, ", ", key_bytes, " and ", 2 * key_bytes));
}

}  // namespace msa::engine
