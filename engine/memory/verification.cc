#include "engine/memory/verification.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/memory/catalog/catalog.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

constexpr int64_t kRowsOfPage = 256;
constexpr size_t kMaxOpenReaders = 8;
constexpr char kEncodedAgain[] = "; the document is encoded again from its text";

std::string FileOf(uint64_t segment_id) {
  return absl::StrCat(SegmentFiles::kDirectoryName, "/", SegmentFiles::NameOf(segment_id));
}

}  // namespace

absl::StatusOr<Bank::VerifyResult> Verification::Run() {
  MSA_RETURN_IF_ERROR(CheckCatalog());
  MSA_RETURN_IF_ERROR(CheckSegments());
  return result_;
}

absl::Status Verification::Proceed(std::string_view phase, std::string_view unit, int64_t done,
                                   int64_t total) {
  monitor_->Progress({.phase = phase,
                      .unit = unit,
                      .done = done,
                      .total = std::max(done, total),
                      .bytes = result_.checked_bytes});
  MSA_RETURN_IF_ERROR(CheckCancelled(*monitor_));
  if (parts_->inbox->is_closed()) {
    return kernels::Refusal(absl::StatusCode::kUnavailable, "the bank is stopping", "STOPPING");
  }
  return absl::OkStatus();
}

void Verification::Report(const std::string& file, const std::string& document_id,
                          const std::string& message) {
  result_.num_damages += 1;
  on_damage_({.file = file, .document_id = document_id, .message = message});
}

// What is damaged in a segment is counted where it is encoded again.
void Verification::ReportCatalog(const std::string& document_id, const std::string& message) {
  parts_->observer->ChecksumFailed();
  Report(Catalog::kFileName, document_id, message);
}

absl::Status Verification::CheckCatalog() {
  auto structure = catalog_->CheckStructure();
  if (!structure.ok() && !absl::IsDataLoss(structure.status())) return structure.status();
  if (!structure.ok()) ReportCatalog("", std::string(structure.status().message()));
  if (structure.ok()) {
    for (const std::string& problem : *structure) ReportCatalog("", problem);
  }
  const BankStats stats = parts_->ledger->stats();
  const int64_t total = stats.num_documents + stats.num_accepted + stats.num_failed;
  uint64_t next = kFirstDocumentNumber;
  while (next != 0) {
    readers_.clear();
    std::vector<DocumentRow> rows;
    auto read = catalog_->ForEachDocument(
        next, kRowsOfPage,
        [&](DocumentRow row) {
          rows.push_back(std::move(row));
          return absl::OkStatus();
        },
        [&](uint32_t, const absl::Status& damage) {
          ReportCatalog(kernels::DetailOf(damage).metadata["document_id"],
                        std::string(damage.message()));
        });
    if (absl::IsDataLoss(read.status())) {  // the pages cannot be followed any further
      ReportCatalog("", std::string(read.status().message()));
      break;
    }
    if (!read.ok()) return read.status();
    for (const DocumentRow& row : rows) MSA_RETURN_IF_ERROR(CheckRow(row));
    next = *read;
    MSA_RETURN_IF_ERROR(Proceed("catalog", "documents", result_.num_documents, total));
  }
  readers_.clear();
  return absl::OkStatus();
}

absl::Status Verification::CheckRow(const DocumentRow& row) {
  if (row.state == DocumentState::kDeleted) return absl::OkStatus();
  result_.num_documents += 1;
  result_.checked_bytes += row.text_bytes + static_cast<int64_t>(row.metadata_json.size());
  const absl::Status text = catalog_->TextOf(row).status();
  if (absl::IsDataLoss(text)) {
    // It may have been deleted since its row was read.
    MSA_ASSIGN_OR_RETURN(const auto now, catalog_->Find(row.number));
    if (!now) return absl::OkStatus();
    if (now->state != DocumentState::kActive) {
      ReportCatalog(row.id, std::string(text.message()));
      return absl::OkStatus();
    }
    // It cannot be encoded again: FAILED, and no query meets it any more. Counted there.
    parts_->inbox->PushDamaged({now->number, now->segment});
    Report(Catalog::kFileName, row.id, std::string(text.message()));
    return absl::OkStatus();
  } else if (!text.ok()) {
    return text;
  }
  return row.state == DocumentState::kActive ? CheckPlace(row) : absl::OkStatus();
}

absl::Status Verification::CheckPlace(const DocumentRow& row) {
  MSA_ASSIGN_OR_RETURN(SegmentReader* const reader, Open(row.segment));
  if (reader == nullptr) {
    return DamagedDocument(row.number, row.segment, "the segment is damaged or missing");
  }
  if (Holds(*reader, row)) return absl::OkStatus();
  return DamagedDocument(row.number, row.segment, "the segment holds another document");
}

absl::StatusOr<SegmentReader*> Verification::Open(uint64_t segment_id) {
  const auto found = readers_.find(segment_id);
  if (found != readers_.end()) return found->second.get();
  if (readers_.size() == kMaxOpenReaders) readers_.erase(readers_.begin());
  std::unique_ptr<SegmentReader>& reader = readers_[segment_id];
  // Not an open file's data, which outlives its name.
  if (!parts_->segments->file_system()->Exists(parts_->segments->PathOf(segment_id))) {
    MSA_RETURN_IF_ERROR(DamagedSegment(segment_id, "the file is missing"));
    return nullptr;
  }
  auto opened = SegmentReader::Open(parts_->segments, segment_id, parts_->geometry());
  if (opened.ok()) {
    reader = *std::move(opened);
  } else if (IsSegmentDamage(opened.status())) {
    MSA_RETURN_IF_ERROR(DamagedSegment(segment_id, std::string(opened.status().message())));
  } else {
    return opened.status();
  }
  return reader.get();
}

// Unless it was compacted meanwhile: the catalog forgets a segment before its file goes.
absl::Status Verification::DamagedSegment(uint64_t segment_id, const std::string& why) {
  MSA_ASSIGN_OR_RETURN(const auto segments, catalog_->Segments());
  const bool is_known = std::any_of(segments.begin(), segments.end(),
                                    [&](const SegmentRow& row) { return row.id == segment_id; });
  if (is_known) Report(FileOf(segment_id), "", why);
  return absl::OkStatus();
}

absl::Status Verification::DamagedDocument(uint32_t number, uint64_t segment_id,
                                           const std::string& why) {
  auto row = catalog_->Find(number);
  if (!row.ok() && !absl::IsDataLoss(row.status())) return row.status();
  if (row.ok() && (!*row || (*row)->segment != segment_id)) return absl::OkStatus();
  parts_->inbox->PushDamaged({number, segment_id});
  Report(FileOf(segment_id), row.ok() ? (*row)->id : absl::StrCat("number ", number),
         absl::StrCat(why, kEncodedAgain));
  return absl::OkStatus();
}

absl::Status Verification::CheckSegments() {
  MSA_ASSIGN_OR_RETURN(const auto segments, catalog_->Segments());
  catalog_bytes_ = result_.checked_bytes;
  for (const SegmentRow& segment : segments) segment_bytes_ += segment.file_bytes;
  for (const SegmentRow& segment : segments) MSA_RETURN_IF_ERROR(CheckSegment(segment));
  return absl::OkStatus();
}

absl::Status Verification::CheckSegment(const SegmentRow& segment) {
  if (!parts_->segments->file_system()->Exists(parts_->segments->PathOf(segment.id))) {
    return absl::OkStatus();  // compacted meanwhile; what is ACTIVE and has no file is known
  }
  auto reader = SegmentReader::Open(parts_->segments, segment.id, parts_->geometry());
  if (IsSegmentDamage(reader.status())) return absl::OkStatus();  // known as well
  if (!reader.ok()) return reader.status();
  const auto damaged = [&](size_t document, const std::string& why) {
    return DamagedDocument((*reader)->documents()[document].number, segment.id, why);
  };
  const auto proceed = [&](int64_t num_bytes) {
    result_.checked_bytes += num_bytes;
    return Proceed("segments", "bytes", result_.checked_bytes - catalog_bytes_, segment_bytes_);
  };
  const absl::Status status = (*reader)->VerifyBlocks(damaged, proceed);
  if (absl::IsNotFound(status)) return DamagedSegment(segment.id, "the file is missing");
  MSA_RETURN_IF_ERROR(status);
  result_.num_segments += 1;
  return absl::OkStatus();
}

}  // namespace msa::engine
