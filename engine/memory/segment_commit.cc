#include "engine/memory/segment_commit.h"

#include <algorithm>
#include <utility>

#include "engine/memory/segments/segment_writer.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

constexpr size_t kMaxPurgedAtOnce = 1024;

}  // namespace

template <class Change>
absl::Status SegmentCommit::InTransaction(Change change) {
  Catalog* const catalog = parts_->catalog;
  absl::Status status = catalog->Begin();
  if (status.ok()) status = change();
  if (status.ok()) {
    status = catalog->Commit();
  } else {
    catalog->Rollback();
  }
  if (!status.ok()) parts_->NoteWriteFailure(status);
  return status;
}

absl::Duration SegmentCommit::TimeUntilDue() const {
  if (queue_->encoded().empty() || !parts_->write_failure.ok()) return absl::InfiniteDuration();
  const absl::Duration now = parts_->clock->Monotonic();
  const bool is_full = queue_->encoded_bytes() >= parts_->options.segment_target_bytes;
  const bool nothing_comes = queue_->nothing_in_flight() && !parts_->inbox->has_ingests();
  const absl::Duration due = is_full || nothing_comes
                                 ? now
                                 : queue_->oldest_encoded_at() + parts_->options.segment_interval;
  return std::max(due, not_before_) - now;
}

void SegmentCommit::Run() {
  auto activations = FindRows(queue_->TakeEncoded());
  if (!activations.ok()) {
    parts_->NoteWriteFailure(activations.status());
    return;
  }
  const uint64_t segment_id = parts_->next_segment++;
  const uint64_t revision = parts_->revision + 1;
  auto segment = Write(segment_id, *activations);
  absl::Status status = segment.status();
  if (status.ok()) {
    status = InTransaction([&] { return Commit(**segment, revision, &*activations); });
  } else {
    parts_->NoteWriteFailure(status);
  }
  if (status.ok()) {
    TakeEffect(*std::move(segment), revision, *std::move(activations));
    return;
  }
  parts_->DropUncommitted(segment_id);
  std::vector<EncodingQueue::Encoded> encoded;
  for (Activation& activation : *activations) encoded.push_back(std::move(activation.encoded));
  Retry(status, std::move(encoded));
}

absl::StatusOr<std::vector<SegmentCommit::Activation>> SegmentCommit::FindRows(
    std::vector<EncodingQueue::Encoded> encoded) {
  std::sort(encoded.begin(), encoded.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  std::vector<Activation> activations;
  for (EncodingQueue::Encoded& document : encoded) {
    MSA_ASSIGN_OR_RETURN(auto row, parts_->catalog->Find(document.number));
    if (!row) return absl::InternalError("an ACCEPTED document has no row");
    activations.push_back({std::move(document), *std::move(row), {}});
  }
  return activations;
}

absl::StatusOr<std::shared_ptr<const SegmentReader>> SegmentCommit::Write(
    uint64_t segment_id, const std::vector<Activation>& activations) {
  std::vector<SegmentInput> inputs;
  for (const Activation& activation : activations) {
    inputs.push_back(
        {activation.row.number, activation.row.text_hash, &activation.encoded.document});
  }
  MSA_RETURN_IF_ERROR(WriteSegment(*parts_->segments, segment_id, parts_->geometry(), inputs));
  MSA_ASSIGN_OR_RETURN(auto reader, parts_->OpenSegment(segment_id));
  reader->DropRouterKeyChecksums();
  return std::shared_ptr<const SegmentReader>(std::move(reader));
}

absl::Status SegmentCommit::Commit(const SegmentReader& segment, uint64_t revision,
                                   std::vector<Activation>* activations) {
  MSA_RETURN_IF_ERROR(parts_->catalog->InsertSegment(RowOf(segment)));
  // The newest first: of two versions in one segment the older one then finds the newer ACTIVE.
  for (size_t i = activations->size(); i-- > 0;) {
    Activation& activation = (*activations)[i];
    activation.row.segment = segment.segment_id();
    activation.row.document_in_segment = static_cast<int64_t>(i);
    MSA_RETURN_IF_ERROR(Activate(revision, &activation));
  }
  return parts_->catalog->PutCounters(parts_->next_number, revision);
}

absl::Status SegmentCommit::Activate(uint64_t revision, Activation* activation) {
  DocumentRow& row = activation->row;
  MSA_ASSIGN_OR_RETURN(const auto versions, parts_->catalog->VersionsOf(row.id));
  row.state = DocumentState::kActive;
  row.from_revision = revision;
  for (const DocumentRow& version : versions) {
    const bool is_active = version.state == DocumentState::kActive;
    if (version.number > row.number && is_active) {
      row.state = DocumentState::kDeleted;
      return parts_->catalog->Purge(row.number);
    }
    if (version.number >= row.number) continue;
    if (is_active) {
      activation->removed.push_back(version);
      DocumentRow superseded = version;
      superseded.state = DocumentState::kDeleted;
      superseded.to_revision = revision;
      MSA_RETURN_IF_ERROR(parts_->catalog->Update(superseded));
    } else if (version.state == DocumentState::kFailed) {
      activation->removed.push_back(version);
      MSA_RETURN_IF_ERROR(parts_->catalog->Purge(version.number));
    }
  }
  return parts_->catalog->Update(row);
}

void SegmentCommit::TakeEffect(std::shared_ptr<const SegmentReader> segment, uint64_t revision,
                               std::vector<Activation> activations) {
  parts_->revision = revision;
  Publication publication;
  publication.revision = revision;
  publication.additions.resize(static_cast<size_t>(parts_->options.num_shards));
  const absl::Duration now = parts_->clock->Monotonic();
  BankLedger& ledger = *parts_->ledger;
  SegmentUse& use = parts_->segment_table[segment->segment_id()];
  use = UseOf(*segment);
  for (Activation& activation : activations) {
    const DocumentRow& row = activation.row;
    const int64_t key_bytes = parts_->KeyBytes(row.num_chunks);
    queue_->Finish(row.number);
    ledger.Change([&](BankStats& stats) {
      stats.num_accepted -= 1;
      stats.content_bytes += parts_->ContentBytes(row.num_chunks);
    });
    if (row.state == DocumentState::kActive) {
      parts_->AddToIndex(row);
      const int rank = ledger.Place(row.number, row.num_chunks, row.num_tokens);
      ledger.Change([&](BankStats& stats) { stats.router_key_bytes += key_bytes; });
      publication.additions[static_cast<size_t>(rank)].push_back(
          {.number = row.number,
           .from_revision = revision,
           .num_chunks = row.num_chunks,
           .router_keys = std::move(activation.encoded.document.router_keys),
           .segment = segment,
           .document_in_segment = row.document_in_segment});
      parts_->observer->DocumentActive(row.num_tokens, now - activation.encoded.accepted_at);
    } else {
      parts_->admission->Release(0, key_bytes);  // its tokens count as a tombstone's
      use.num_dead += 1;
      ledger.Change([&](BankStats& stats) {
        stats.num_tombstones += 1;
        stats.text_bytes -= row.text_bytes;
      });
    }
    for (const DocumentRow& removed : activation.removed) {
      if (removed.state == DocumentState::kActive) {
        publication.retired.emplace_back(
            ledger.Displace(removed.number, removed.num_chunks, removed.num_tokens),
            removed.number);
        parts_->deleted_rows.emplace_back(revision, removed.number);
      }
      ledger.Change([&](BankStats& stats) {
        stats.num_failed -= removed.state == DocumentState::kFailed ? 1 : 0;
        stats.text_bytes -= removed.text_bytes;
      });
    }
  }
  ledger.Change([](BankStats& stats) { stats.num_segments += 1; });
  parts_->Publish(std::move(publication));
  for (const Activation& activation : activations) {
    acknowledgements_->Activated(activation.row.number, activation.row.state, revision);
  }
}

void SegmentCommit::Retry(const absl::Status& status, std::vector<EncodingQueue::Encoded> encoded) {
  for (const EncodingQueue::Encoded& document : encoded) {
    acknowledgements_->Refused(document.number, DocumentState::kAccepted, status);
  }
  if (!parts_->write_failure.ok()) return;
  not_before_ = parts_->clock->Monotonic() + parts_->options.write_retry_interval;
  queue_->PutBack(std::move(encoded));
}

void SegmentCommit::Fail(const EncodingQueue::Failure& failure) {
  if (!failure.is_final || !parts_->write_failure.ok()) {
    acknowledgements_->Refused(failure.number, DocumentState::kAccepted, failure.status);
    return;
  }
  const absl::Status status = InTransaction([&]() -> absl::Status {
    MSA_ASSIGN_OR_RETURN(auto row, parts_->catalog->Find(failure.number));
    if (!row) return absl::OkStatus();
    row->state = DocumentState::kFailed;
    row->failure = failure.status;
    return parts_->catalog->Update(*row);
  });
  if (!status.ok()) {
    acknowledgements_->Refused(failure.number, DocumentState::kAccepted, status);
    return;
  }
  queue_->Cancel(failure.number);
  parts_->ledger->Change([](BankStats& stats) {
    stats.num_accepted -= 1;
    stats.num_failed += 1;
  });
  parts_->observer->DocumentFailed();
  acknowledgements_->Refused(failure.number, DocumentState::kFailed, failure.status);
}

void SegmentCommit::EncodeAgain(const DamagedDocument& damaged) {
  const uint32_t number = damaged.number;
  if (!parts_->write_failure.ok() || parts_->ledger->RankOf(number) < 0) return;
  auto found = parts_->catalog->Find(number);
  if (!found.ok()) {
    parts_->observer->ProblemFound(parts_->name, found.status());
    return;
  }
  if (!*found || (*found)->segment != damaged.segment) return;
  parts_->observer->ChecksumFailed();
  const uint64_t revision = parts_->revision + 1;
  DocumentRow row = **std::move(found);
  row.BecomeAccepted();
  const absl::Status status = InTransaction([&]() -> absl::Status {
    MSA_RETURN_IF_ERROR(parts_->catalog->Update(row));
    return parts_->catalog->PutCounters(parts_->next_number, revision);
  });
  if (!status.ok()) return;
  parts_->observer->ProblemFound(
      parts_->name,
      kernels::Refusal(absl::StatusCode::kDataLoss,
                       "a document is damaged, it is taken from queries until it is encoded again "
                       "from its text",
                       "SEGMENT_DAMAGED", "", {{"document_id", row.id}}));
  parts_->revision = revision;
  parts_->segment_table[damaged.segment].num_dead += 1;
  parts_->shards_have_dead = true;
  Publication publication;
  publication.revision = revision;
  publication.retired.emplace_back(parts_->ledger->Displace(number, row.num_chunks, row.num_tokens),
                                   number);
  parts_->Publish(std::move(publication));
  parts_->admission->ReserveAnyway(row.num_tokens, parts_->KeyBytes(row.num_chunks));
  parts_->ledger->Change([](BankStats& stats) { stats.num_accepted += 1; });
  queue_->Add(number, row.num_tokens, {});
}

bool SegmentCommit::Purge() {
  if (!parts_->write_failure.ok()) return false;
  std::deque<std::pair<uint64_t, uint32_t>>& rows = parts_->deleted_rows;
  const uint64_t oldest = parts_->visible->oldest_revision();
  size_t count = 0;
  while (count < std::min(rows.size(), kMaxPurgedAtOnce) && rows[count].first <= oldest) ++count;
  if (count == 0) return false;
  std::vector<DocumentRow> purged;
  const absl::Status status = InTransaction([&]() -> absl::Status {
    for (size_t i = 0; i < count; ++i) {
      auto row = parts_->catalog->Find(rows[i].second);
      // A damaged one stays in the index, where no query sees it.
      if (row.ok() && *row) purged.push_back(**std::move(row));
      MSA_RETURN_IF_ERROR(parts_->catalog->Purge(rows[i].second));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return false;
  for (const DocumentRow& row : purged) {
    parts_->RemoveFromIndex(row);
    parts_->segment_table[row.segment].num_dead += 1;
  }
  parts_->shards_have_dead = true;
  rows.erase(rows.begin(), rows.begin() + static_cast<int64_t>(count));
  return count == kMaxPurgedAtOnce;
}

}  // namespace msa::engine
