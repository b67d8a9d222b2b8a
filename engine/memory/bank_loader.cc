#include "engine/memory/bank_loader.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/segment_table.h"
#include "engine/memory/segments/segment_format.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

constexpr size_t kRowsToIndexAtOnce = 4096;

}  // namespace

absl::Status BankLoader::Load() {
  // Until that is known, nothing is written and no file removed.
  auto structure = std::async(std::launch::async,
                              [catalog = parts_->catalog] { return catalog->CheckStructure(); });
  MSA_ASSIGN_OR_RETURN(const std::vector<SegmentRow> rows, parts_->catalog->Segments());
  for (const SegmentRow& row : rows) {
    segment_index_[row.id] = segments_.size();
    segments_.emplace_back().row = row;
    parts_->next_segment = std::max(parts_->next_segment, row.id + 1);
  }
  MSA_RETURN_IF_ERROR(OpenSegments());
  MSA_RETURN_IF_ERROR(ReadDocuments());
  MSA_RETURN_IF_ERROR(LoadShards());
  MSA_ASSIGN_OR_RETURN(const std::vector<std::string> problems, structure.get());
  MSA_RETURN_IF_ERROR(parts_->catalog->Repair(problems));
  if (!problems.empty()) {
    parts_->observer->ChecksumFailed();
    Report(kernels::Refusal(
        absl::StatusCode::kDataLoss,
        absl::StrCat("the catalog's indexes did not agree with its documents and were built anew (",
                     problems.front(), ")"),
        "CATALOG_DAMAGED"));
  }
  MSA_RETURN_IF_ERROR(RemoveOrphans());
  ReportDamaged();
  MSA_RETURN_IF_ERROR(CommitRepairs());
  for (const DocumentRow& row : accepted_) {
    parts_->admission->ReserveAnyway(row.num_tokens, parts_->KeyBytes(row.num_chunks));
    queue_->Add(row.number, row.num_tokens, {});
  }
  parts_->ledger->Change([&](BankStats& stats) {
    stats.num_accepted += static_cast<int64_t>(accepted_.size());
    stats.num_segments = static_cast<int64_t>(segments_.size());
  });
  return absl::OkStatus();
}

void BankLoader::Report(const absl::Status& problem) {
  parts_->observer->ProblemFound(parts_->name, problem);
}

absl::Status BankLoader::RemoveOrphans() {
  FileSystem* const files = parts_->segments->file_system();
  const std::string directory = parts_->segments->directory();
  MSA_ASSIGN_OR_RETURN(const auto names, files->List(directory));
  for (const std::string& name : names) {
    const auto id = SegmentFiles::IdOf(name);
    const bool is_ours = id || absl::EndsWith(name, kernels::ToAbsl(kTemporarySuffix));
    if (!is_ours || (id && segment_index_.contains(*id))) continue;
    MSA_RETURN_IF_ERROR(files->Remove(absl::StrCat(directory, "/", name)));
  }
  return absl::OkStatus();
}

absl::Status BankLoader::ReadDocuments() {
  BankStats counts;
  int64_t last_number = -1;
  const auto read = parts_->catalog->ForEachDocument(
      /*first=*/0, /*limit=*/0,
      [&](DocumentRow row) -> absl::Status {
        // Pages that are damaged may lead round in circles.
        if (row.number <= last_number) {
          return kernels::Refusal(
              absl::StatusCode::kDataLoss,
              absl::StrCat("catalog: document ", row.number, " comes after ", last_number),
              "CATALOG_DAMAGED");
        }
        last_number = row.number;
        if (row.state != DocumentState::kDeleted) counts.text_bytes += row.text_bytes;
        switch (row.state) {
          case DocumentState::kAccepted:
            accepted_.push_back(std::move(row));
            break;
          case DocumentState::kActive:
            Match(std::move(row));
            break;
          case DocumentState::kFailed:
            counts.num_failed += 1;
            break;
          case DocumentState::kDeleted:
            deleted_.push_back(row.number);
            break;
        }
        return absl::OkStatus();
      },
      [&](uint32_t number, const absl::Status& damage) {
        parts_->damaged_rows.insert(number);
        parts_->observer->ChecksumFailed();
        Report(damage);
      });
  Index();
  indexing_.get();
  parts_->ledger->Change([&](BankStats& stats) {
    stats.text_bytes = counts.text_bytes;
    stats.num_failed = counts.num_failed;
  });
  return read.status();
}

absl::Status BankLoader::OpenSegments() {
  for (Segment& segment : segments_) {
    if (segment.row.version != kSegmentVersion) {
      return kernels::Refusal(
          absl::StatusCode::kFailedPrecondition,
          absl::StrCat(parts_->segments->PathOf(segment.row.id), ": format version ",
                       segment.row.version, " is unknown, this server reads version ",
                       kSegmentVersion),
          "UNKNOWN_FORMAT_VERSION");
    }
    auto reader = parts_->OpenSegment(segment.row.id);
    if (reader.ok()) {
      segment.reader = *std::move(reader);
      const SegmentRow verified = RowOf(*segment.reader);
      if (segment.row != verified) {
        parts_->observer->ChecksumFailed();
        Report(kernels::Refusal(absl::StatusCode::kDataLoss,
                                absl::StrCat("catalog, segment ", segment.row.id,
                                             ": the row is damaged; what the file says counts"),
                                "CATALOG_DAMAGED"));
        segment.row = verified;
      }
    } else if (IsSegmentDamage(reader.status())) {
      parts_->observer->ChecksumFailed();
      Report(reader.status());
    } else {
      return reader.status();
    }
  }
  return absl::OkStatus();
}

void BankLoader::ReportDamaged() {
  for (const auto& [row, why] : damaged_) {
    parts_->observer->ChecksumFailed();
    Report(
        kernels::Refusal(absl::StatusCode::kDataLoss,
                         absl::StrCat("segment ", SegmentFiles::NameOf(row.segment), ", document ",
                                      row.number, ": ", why, "; it is encoded again from its text"),
                         "SEGMENT_DAMAGED", "", {{"document_id", row.id}}));
  }
}

// Catalog and segment must tell the same of every document.
void BankLoader::Match(DocumentRow row) {
  const auto found = segment_index_.find(row.segment);
  Segment* const segment = found == segment_index_.end() ? nullptr : &segments_[found->second];
  if (segment == nullptr || segment->reader == nullptr) {
    damaged_.emplace_back(std::move(row), "the segment is damaged or missing");
  } else if (!Holds(*segment->reader, row)) {
    damaged_.emplace_back(std::move(row), "the segment holds another document");
  } else {
    segment->documents.push_back(
        {.from_revision = row.from_revision,
         .document_in_segment = static_cast<uint32_t>(row.document_in_segment),
         .rank = parts_->ledger->Place(row.number, row.num_chunks, row.num_tokens)});
    to_index_.push_back(std::move(row));
    if (to_index_.size() == kRowsToIndexAtOnce) Index();
  }
}

// On another thread, while the next rows are read.
void BankLoader::Index() {
  if (indexing_.valid()) indexing_.get();
  indexing_ = std::async(std::launch::async, [this, rows = std::exchange(to_index_, {})] {
    for (const DocumentRow& row : rows) parts_->AddToIndex(row);
  });
}

// A segment's keys are read and checked while those of the one before are added.
absl::Status BankLoader::LoadShards() {
  std::vector<Segment*> readable;
  for (Segment& segment : segments_) {
    if (segment.reader != nullptr) readable.push_back(&segment);
  }
  const auto read = [&](size_t i) {
    return std::async(std::launch::async,
                      [this, segment = readable[i]] { return ReadKeys(*segment); });
  };
  std::future<absl::StatusOr<Keys>> next;
  if (!readable.empty()) next = read(0);
  for (size_t i = 0; i < readable.size(); ++i) {
    absl::StatusOr<Keys> keys = next.get();
    if (i + 1 < readable.size()) next = read(i + 1);
    if (!keys.ok()) return keys.status();
    MSA_RETURN_IF_ERROR(LoadSegment(readable[i], *std::move(keys)));
  }
  return absl::OkStatus();
}

absl::StatusOr<BankLoader::Keys> BankLoader::ReadKeys(const Segment& segment) const {
  std::vector<bool> wanted(segment.reader->documents().size());
  for (const Document& document : segment.documents) wanted[document.document_in_segment] = true;
  return segment.reader->TakeRouterKeys(wanted);
}

absl::Status BankLoader::LoadSegment(Segment* segment, Keys keys) {
  const std::shared_ptr<const SegmentReader> reader = std::move(segment->reader);
  std::vector<std::vector<Shard::Addition>> additions(
      static_cast<size_t>(parts_->options.num_shards));
  const auto num_tombstones =
      static_cast<int64_t>(reader->documents().size() - segment->documents.size());
  int64_t num_damaged = 0;
  int64_t key_bytes = 0;
  for (const Document& document : segment->documents) {
    const SegmentDocument& stored = reader->documents()[document.document_in_segment];
    auto& document_keys = keys[document.document_in_segment];
    if (document_keys.empty()) {
      MSA_RETURN_IF_ERROR(TakeBack(stored.number));
      num_damaged += 1;
      continue;
    }
    key_bytes += parts_->KeyBytes(stored.num_chunks);
    additions[static_cast<size_t>(document.rank)].push_back(
        {.number = stored.number,
         .from_revision = document.from_revision,
         .num_chunks = stored.num_chunks,
         .router_keys = std::move(document_keys),
         .segment = reader,
         .document_in_segment = document.document_in_segment});
  }
  segment->num_intact = static_cast<int64_t>(segment->documents.size()) - num_damaged;
  segment->documents = {};
  if (segment->num_intact == 0) {  // the segment goes, with all in it
    parts_->ledger->Change([&](BankStats& stats) { stats.num_tombstones -= num_damaged; });
    return absl::OkStatus();
  }
  SegmentUse& use = parts_->segment_table[segment->row.id];
  use = UseOf(*reader);
  use.num_dead = use.num_documents - segment->num_intact;
  AddToShards(std::move(additions));
  parts_->admission->ReserveAnyway(use.num_tokens, key_bytes);
  parts_->ledger->Change([&](BankStats& stats) {
    stats.num_tombstones += num_tombstones;
    stats.router_key_bytes += key_bytes;
    stats.content_bytes += parts_->ContentBytes(segment->row.num_chunks);
  });
  return absl::OkStatus();
}

absl::Status BankLoader::TakeBack(uint32_t number) {
  MSA_ASSIGN_OR_RETURN(auto row, parts_->catalog->Find(number));
  if (!row) return absl::InternalError("an ACTIVE document has no row");
  parts_->RemoveFromIndex(*row);
  parts_->ledger->Displace(row->number, row->num_chunks, row->num_tokens);  // a tombstone
  damaged_.emplace_back(*std::move(row), "the router keys are damaged");
  return absl::OkStatus();
}

void BankLoader::AddToShards(std::vector<std::vector<Shard::Addition>> additions) {
  std::vector<std::future<void>> others;
  for (size_t rank = 1; rank < additions.size(); ++rank) {
    others.push_back(std::async(std::launch::async, [this, rank, &additions] {
      parts_->visible->shards()[rank].Add(std::move(additions[rank]));
    }));
  }
  parts_->visible->shards()[0].Add(std::move(additions[0]));
  for (std::future<void>& other : others) other.get();
}

absl::Status BankLoader::CommitRepairs() {
  std::vector<SegmentRow> dropped;
  std::erase_if(segments_, [&](const Segment& segment) {
    if (segment.num_intact == 0) dropped.push_back(segment.row);
    return segment.num_intact == 0;
  });
  for (auto& [row, why] : damaged_) {
    row.BecomeAccepted();
    accepted_.push_back(row);
  }
  std::sort(accepted_.begin(), accepted_.end(),
            [](const DocumentRow& a, const DocumentRow& b) { return a.number < b.number; });
  if (damaged_.empty() && dropped.empty() && deleted_.empty()) return absl::OkStatus();
  MSA_RETURN_IF_ERROR(parts_->catalog->Begin());
  const auto change = [&]() -> absl::Status {
    for (const auto& [row, why] : damaged_) MSA_RETURN_IF_ERROR(parts_->catalog->Update(row));
    for (const uint32_t number : deleted_) MSA_RETURN_IF_ERROR(parts_->catalog->Purge(number));
    for (const SegmentRow& row : dropped) {
      MSA_RETURN_IF_ERROR(parts_->catalog->RemoveSegment(row.id));
    }
    return parts_->catalog->Commit();
  };
  const absl::Status status = change();
  if (!status.ok()) {
    parts_->catalog->Rollback();
    return status;
  }
  for (const SegmentRow& row : dropped) {
    MSA_RETURN_IF_ERROR(parts_->segments->Remove(row.id));
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
