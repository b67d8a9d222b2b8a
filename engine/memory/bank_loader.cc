#include "engine/memory/bank_loader.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/segment_commit.h"
#include "engine/memory/segments/segment_format.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

bool IsDamage(const absl::Status& status) {
  // A segment of another version, model or shape than its catalog says is not this bank's.
  return absl::IsDataLoss(status) || absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
}

}  // namespace

absl::Status BankLoader::Load() {
  if (!parts_->catalog->repaired().ok()) Report(parts_->catalog->repaired());
  MSA_ASSIGN_OR_RETURN(const std::vector<SegmentRow> rows, parts_->catalog->Segments());
  for (const SegmentRow& row : rows) {
    segment_index_[row.id] = segments_.size();
    segments_.push_back({row, nullptr, {}});
    parts_->next_segment = std::max(parts_->next_segment, row.id + 1);
  }
  MSA_RETURN_IF_ERROR(RemoveOrphans());
  MSA_RETURN_IF_ERROR(ReadDocuments());
  MSA_RETURN_IF_ERROR(OpenSegments());
  MatchDocuments();
  MSA_RETURN_IF_ERROR(LoadShards());
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
  const auto read = parts_->catalog->ForEachDocument(
      /*first=*/0, /*limit=*/0,
      [&](DocumentRow row) {
        if (row.state != DocumentState::kDeleted) counts.text_bytes += row.text_bytes;
        switch (row.state) {
          case DocumentState::kAccepted:
            accepted_.push_back(std::move(row));
            break;
          case DocumentState::kActive:
            documents_.push_back({std::move(row)});
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
      [&](const absl::Status& damage) {
        parts_->observer->ChecksumFailed();
        Report(damage);
      });
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
        Report(kernels::Refusal(absl::StatusCode::kDataLoss,
                                absl::StrCat("catalog, segment ", segment.row.id,
                                             ": the row is damaged; what the file says counts"),
                                "CATALOG_DAMAGED"));
        segment.row = verified;
      }
    } else if (IsDamage(reader.status())) {
      parts_->observer->ChecksumFailed();
      Report(reader.status());
    } else {
      return reader.status();
    }
  }
  return absl::OkStatus();
}

void BankLoader::Damaged(Document* document, const std::string& why) {
  document->is_damaged = true;
  parts_->observer->ChecksumFailed();
  Report(kernels::Refusal(
      absl::StatusCode::kDataLoss,
      absl::StrCat("segment ", SegmentFiles::NameOf(document->row.segment), ", document ",
                   document->row.number, ": ", why, "; it is encoded again from its text"),
      "SEGMENT_DAMAGED", "", {{"document_id", document->row.id}}));
}

// Catalog and segment must tell the same of every document.
void BankLoader::MatchDocuments() {
  for (size_t i = 0; i < documents_.size(); ++i) {
    Document& document = documents_[i];
    const DocumentRow& row = document.row;
    const auto found = segment_index_.find(row.segment);
    Segment* const segment = found == segment_index_.end() ? nullptr : &segments_[found->second];
    if (segment == nullptr || segment->reader == nullptr) {
      Damaged(&document, "the segment is damaged or missing");
      continue;
    }
    const auto table = segment->reader->documents();
    const auto index = static_cast<size_t>(row.document_in_segment);
    const bool matches = index < table.size() && table[index].number == row.number &&
                         table[index].num_tokens == row.num_tokens &&
                         table[index].num_chunks == row.num_chunks &&
                         table[index].text_hash == row.text_hash;
    if (!matches) {
      Damaged(&document, "the segment holds another document");
      continue;
    }
    segment->documents.push_back(i);
    document.rank = parts_->ledger->Place(row.number, row.num_chunks, row.num_tokens);
  }
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
    LoadShard(readable[i], *std::move(keys));
  }
  return absl::OkStatus();
}

absl::StatusOr<BankLoader::Keys> BankLoader::ReadKeys(const Segment& segment) const {
  std::vector<bool> wanted(segment.reader->documents().size());
  for (const size_t i : segment.documents) {
    wanted[static_cast<size_t>(documents_[i].row.document_in_segment)] = true;
  }
  return segment.reader->TakeRouterKeys(wanted);
}

void BankLoader::LoadShard(Segment* segment, Keys keys) {
  const size_t num_documents = segment->reader->documents().size();
  const std::shared_ptr<const SegmentReader> reader = std::move(segment->reader);
  std::vector<std::vector<Shard::Addition>> additions(
      static_cast<size_t>(parts_->options.num_shards));
  int64_t num_tombstones = static_cast<int64_t>(num_documents - segment->documents.size());
  int64_t num_damaged = 0;
  int64_t key_bytes = 0;
  std::vector<size_t> intact;
  for (const size_t i : segment->documents) {
    const DocumentRow& row = documents_[i].row;
    auto& document_keys = keys[static_cast<size_t>(row.document_in_segment)];
    if (document_keys.empty()) {
      Damaged(&documents_[i], "the router keys are damaged");
      parts_->ledger->Displace(row.number, row.num_chunks, row.num_tokens);  // a tombstone
      num_damaged += 1;
      continue;
    }
    intact.push_back(i);
    parts_->AddToIndex(row);
    key_bytes += parts_->KeyBytes(row.num_chunks);
    additions[static_cast<size_t>(documents_[i].rank)].push_back(
        {.number = row.number,
         .from_revision = row.from_revision,
         .num_chunks = row.num_chunks,
         .router_keys = std::move(document_keys),
         .segment = reader,
         .document_in_segment = row.document_in_segment});
  }
  segment->documents = std::move(intact);
  if (segment->documents.empty()) {  // the segment goes, with all in it
    parts_->ledger->Change([&](BankStats& stats) { stats.num_tombstones -= num_damaged; });
    return;
  }
  SegmentUse& use = parts_->segment_table[segment->row.id];
  use = UseOf(*reader);
  use.num_dead = use.num_documents - static_cast<int64_t>(segment->documents.size());
  for (size_t rank = 0; rank < additions.size(); ++rank) {
    parts_->visible->shards()[rank].Add(std::move(additions[rank]));
  }
  parts_->admission->ReserveAnyway(use.num_tokens, key_bytes);
  parts_->ledger->Change([&](BankStats& stats) {
    stats.num_tombstones += num_tombstones;
    stats.router_key_bytes += key_bytes;
    stats.content_bytes += 2 * parts_->KeyBytes(segment->row.num_chunks);
  });
}

absl::Status BankLoader::CommitRepairs() {
  std::vector<SegmentRow> dropped;
  std::erase_if(segments_, [&](const Segment& segment) {
    if (segment.documents.empty()) dropped.push_back(segment.row);
    return segment.documents.empty();
  });
  for (Document& document : documents_) {
    if (!document.is_damaged) continue;
    DocumentRow& row = document.row;
    row.state = DocumentState::kAccepted;
    row.from_revision = 0;
    row.segment = 0;
    row.document_in_segment = 0;
    accepted_.push_back(row);
  }
  std::sort(accepted_.begin(), accepted_.end(),
            [](const DocumentRow& a, const DocumentRow& b) { return a.number < b.number; });
  const bool any_damaged = std::any_of(documents_.begin(), documents_.end(),
                                       [](const Document& d) { return d.is_damaged; });
  if (!any_damaged && dropped.empty() && deleted_.empty()) return absl::OkStatus();
  MSA_RETURN_IF_ERROR(parts_->catalog->Begin());
  const auto change = [&]() -> absl::Status {
    for (const Document& document : documents_) {
      if (document.is_damaged) MSA_RETURN_IF_ERROR(parts_->catalog->Update(document.row));
    }
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
    parts_->segments->Forget(row.id);
    MSA_RETURN_IF_ERROR(parts_->segments->file_system()->Remove(parts_->segments->PathOf(row.id)));
  }
  return absl::OkStatus();
}

}  // namespace msa::engine
