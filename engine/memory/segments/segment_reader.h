#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/memory/segments/segment_files.h"
#include "engine/memory/segments/segment_format.h"

namespace msa::engine {

// Whether Open says that the file is damaged, missing or not this bank's: of another version, model
// or shape.
bool IsSegmentDamage(const absl::Status& status);

// One segment file, its tables in memory and verified. Everything it hands out is verified too.
class SegmentReader {
 public:
  // Told of a document whose content is damaged, on the thread that reads it; must not block.
  using DamageHandler = std::function<void(uint32_t number)>;

  // Reads and checks header, footer, document table and checksum table. DATA_LOSS (or NOT_FOUND)
  // names the file; FAILED_PRECONDITION (UNKNOWN_FORMAT_VERSION, or another model, shape or dtype
  // than `expected`) too; UNAVAILABLE on an I/O error. `files` is shared by all of a bank's
  // readers.
  static absl::StatusOr<std::unique_ptr<SegmentReader>> Open(std::shared_ptr<SegmentFiles> files,
                                                             uint64_t segment_id,
                                                             const MemoryGeometry& expected,
                                                             DamageHandler on_damage = nullptr);

  uint64_t segment_id() const { return header_.segment_id; }
  const std::string& instruction_set() const { return header_.geometry.instruction_set; }
  absl::Span<const SegmentDocument> documents() const { return documents_; }
  uint64_t file_bytes() const { return layout_.file_bytes; }

  // Router keys [layer, C, W] of the documents with `wanted`; empty for the others and for damaged
  // ones. Call once, before the reader is shared: the checksums of router keys are dropped
  // afterwards.
  absl::StatusOr<std::vector<std::vector<std::byte>>> TakeRouterKeys(
      const std::vector<bool>& wanted);
  // Instead of TakeRouterKeys, where the keys are at hand.
  void DropRouterKeyChecksums();

  // One layer of a document's content, [C, 2, W]; `out` has that size. DATA_LOSS names file and
  // document. Thread-safe.
  absl::Status ReadContent(size_t document, size_t layer, absl::Span<std::byte> out) const;

  // Reads every block. `damaged` is told of a document (its place in the table) once, `proceed` of
  // the bytes read since the last call; their errors end it. Instead of TakeRouterKeys.
  using DamagedBlock = absl::FunctionRef<absl::Status(size_t document, const std::string& why)>;
  using Proceed = absl::FunctionRef<absl::Status(int64_t num_bytes)>;
  absl::Status VerifyBlocks(DamagedBlock damaged, Proceed proceed);

 private:
  SegmentReader(std::shared_ptr<SegmentFiles> files, DamageHandler on_damage);
  absl::Status Load(uint64_t segment_id, const MemoryGeometry& expected);
  absl::Status LoadTables(const ReadableFile& file, const SegmentFooter& footer);
  absl::Status Damaged(uint32_t number, absl::string_view why) const;

  const std::shared_ptr<SegmentFiles> files_;
  const DamageHandler on_damage_;
  SegmentHeader header_;
  SegmentLayout layout_;
  std::vector<SegmentDocument> documents_;        // [N]
  std::vector<uint64_t> content_checksums_;       // [N, layer]
  std::vector<uint64_t> document_key_checksums_;  // [N, layer], until dropped
  std::vector<uint64_t> layer_key_checksums_;     // [layer], until dropped
};

}  // namespace msa::engine
