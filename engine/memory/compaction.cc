#include "engine/memory/compaction.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/memory/segments/segment_writer.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

constexpr absl::Duration kPause = absl::Seconds(1);  // between two looks at the shards, or attempts

}  // namespace

void Compaction::Run() {
  due_in_ = absl::InfiniteDuration();
  TakeFreed();
  TakeRequests();
  if (!parts_->write_failure.ok() || parts_->inbox->refuses_ingest()) {
    Finish(
        parts_->inbox->refuses_ingest()
            ? kernels::Refusal(absl::StatusCode::kUnavailable, "the bank is stopping", "STOPPING")
            : kernels::Refusal(absl::StatusCode::kUnavailable,
                               "the bank is read-only since a write failed", "BANK_READ_ONLY"));
    return;
  }
  if (waits_for_boundary_) return;  // that pokes the bank's thread
  const absl::Duration start = parts_->clock->Monotonic();
  if (start < not_before_) {
    due_in_ = not_before_ - start;
    return;
  }
  if (const std::vector<uint64_t> segments = ChooseSegments(); !segments.empty()) {
    const absl::Status status = RunUnit(segments);
    const absl::Duration took = parts_->clock->Monotonic() - start;
    // Other work of the bank's thread gets as much time.
    if (!is_asked() || parts_->inbox->has_ingests()) not_before_ = start + 2 * took;
    if (status.ok()) return;
    if (result_.status.ok()) result_.status = status;
    const bool is_unreadable =
        std::any_of(segments.begin(), segments.end(),
                    [&](uint64_t segment_id) { return unreadable_.contains(segment_id); });
    if (is_unreadable) parts_->observer->ProblemFound(parts_->name, status);  // else it was a write
    due_in_ = is_unreadable ? absl::ZeroDuration() : kPause;  // the others, or another attempt
    if (is_unreadable) return;
    not_before_ = start + kPause;
    Finish(status);
    return;
  }
  if (is_asked() ? asked_shards_ : parts_->shards_have_dead) {
    CompactShards();
  } else if (is_asked() && parts_->segments->has_files_to_remove()) {
    due_in_ = kPause;  // files that should have gone are still there
  } else if (is_asked()) {
    const absl::Status rewritten = RewriteCatalog();
    if (absl::IsFailedPrecondition(rewritten)) {
      due_in_ = kPause;  // it is being read
      return;
    }
    if (!rewritten.ok()) parts_->NoteWriteFailure(rewritten);
    Finish(result_.status.ok() ? rewritten : result_.status);
  }
}

// Once for those who asked, however often its log cannot be cut then.
absl::Status Compaction::RewriteCatalog() {
  if (!is_rewritten_) MSA_RETURN_IF_ERROR(parts_->catalog->Rewrite());
  is_rewritten_ = true;
  return parts_->catalog->TruncateLog();
}

// Those who ask while others are served wait, so that what is asked for stays the same.
void Compaction::TakeRequests() {
  for (CompactRequest& request : parts_->inbox->TakeCompacts()) {
    waiting_.push_back(std::move(request.done));
  }
  if (is_asked() || waiting_.empty()) return;
  requests_ = std::exchange(waiting_, {});
  result_ = {};
  asked_below_segment_ = parts_->next_segment;
  asked_revision_ = parts_->revision;
  asked_shards_ = true;
  is_rewritten_ = false;
  unreadable_.clear();
  not_before_ = -absl::InfiniteDuration();
}

void Compaction::TakeFreed() {
  const Freed freed = parts_->visible->TakeFreed();
  if (freed.boundary_has_passed) waits_for_boundary_ = false;
  if (freed.num_chunks > 0) {
    const int64_t key_bytes = parts_->KeyBytes(freed.num_chunks);
    parts_->admission->Release(0, key_bytes);
    parts_->ledger->Change([&](BankStats& stats) { stats.router_key_bytes -= key_bytes; });
    parts_->shards_have_dead = asked_shards_ = true;  // one extent goes at a time
    not_before_ = -absl::InfiniteDuration();
  }
  for (const uint64_t segment_id : freed.segments) {
    const absl::Status removed = parts_->segments->Remove(segment_id);
    if (removed.ok()) continue;
    // Nobody's from now on; it goes when the bank is opened.
    parts_->observer->ProblemFound(parts_->name, removed);
    if (result_.status.ok()) result_.status = removed;
  }
}

// Looking for dead keys takes time between steps, so it is not done after every delete.
void Compaction::CompactShards() {
  (is_asked() ? asked_shards_ : parts_->shards_have_dead) = false;
  waits_for_boundary_ = true;
  if (!is_asked()) not_before_ = parts_->clock->Monotonic() + kPause;
  const uint64_t revision = is_asked() ? asked_revision_ : parts_->revision;
  const double share = is_asked() ? 0 : parts_->options.compaction_share;
  parts_->encoder->AtStepBoundary(
      [bank = parts_->visible, revision, share] { bank->CompactShards(revision, share); });
}

// Segments that hold nothing else go without a copy; then those with dead documents and, while
// there is room in one new segment, small ones.
std::vector<uint64_t> Compaction::ChooseSegments() const {
  const BankStoreOptions& options = parts_->options;
  const auto is_meant = [&](uint64_t id, const SegmentUse& use) {
    const auto failed = unreadable_.find(id);
    const bool is_readable = failed == unreadable_.end() || failed->second != use.num_dead;
    return is_readable && (!is_asked() || id < asked_below_segment_);
  };
  const auto has_dead = [&](const SegmentUse& use) {
    const auto share = static_cast<double>(use.num_dead) / static_cast<double>(use.num_documents);
    return use.num_dead > 0 && (is_asked() || share >= options.compaction_share);
  };
  struct Group {
    std::vector<uint64_t> segments;
    int64_t bytes = 0;
    int64_t num_small = 0;  // without dead documents
    bool has_dead = false;
    bool is_full = false;
  };
  std::vector<uint64_t> whole;
  std::map<std::string, Group> groups;  // by instruction set
  const auto add = [&](uint64_t id, const SegmentUse& use) {
    Group& group = groups[use.instruction_set];
    if (!group.segments.empty() && group.bytes + use.file_bytes > options.segment_target_bytes) {
      group.is_full = true;
      return false;
    }
    group.segments.push_back(id);
    group.bytes += use.file_bytes;
    return true;
  };
  for (const auto& [id, use] : parts_->segment_table) {
    if (!is_meant(id, use) || !has_dead(use)) continue;
    if (use.num_dead == use.num_documents) whole.push_back(id);
    if (use.num_dead < use.num_documents && add(id, use))
      groups[use.instruction_set].has_dead = true;
  }
  if (!whole.empty()) return whole;
  for (const auto& [id, use] : parts_->segment_table) {
    const bool is_small = use.file_bytes < options.segment_target_bytes / 8;
    if (!is_meant(id, use) || has_dead(use) || !is_small) continue;
    if (add(id, use)) groups[use.instruction_set].num_small += 1;
  }
  const int64_t least_small = is_asked() ? 2 : options.compaction_merge;
  for (const auto& [instruction_set, group] : groups) {
    const bool merges = group.num_small >= least_small || (group.is_full && group.num_small >= 2);
    if (group.has_dead || merges) return group.segments;
  }
  return {};
}

absl::Status Compaction::RunUnit(const std::vector<uint64_t>& segments) {
  Unit unit;
  for (const uint64_t segment_id : segments) {
    const SegmentUse& use = parts_->segment_table.at(segment_id);
    if (use.num_dead == use.num_documents) {  // it need not be readable
      unit.segments.push_back(segment_id);
      unit.num_dropped += use.num_documents;
      unit.dropped_tokens += use.num_tokens;
      unit.dropped_chunks += use.num_chunks;
      unit.file_bytes += use.file_bytes;
      continue;
    }
    const absl::Status status = ReadSegment(segment_id, &unit);
    unreadable_.erase(segment_id);
    if (status.ok()) continue;
    unreadable_[segment_id] = parts_->segment_table.at(segment_id).num_dead;
    return status;
  }
  std::sort(unit.living.begin(), unit.living.end(),
            [](const Living& a, const Living& b) { return a.row.number < b.row.number; });
  const uint64_t segment_id = parts_->next_segment++;
  std::shared_ptr<const SegmentReader> segment;
  absl::Status status;
  if (!unit.living.empty()) {
    auto written = Write(unit, segment_id);
    status = written.status();
    if (status.ok()) segment = *std::move(written);
  }
  if (status.ok()) status = Commit(segment.get(), unit);
  if (status.ok()) {
    TakeEffect(std::move(segment), unit);
    return status;
  }
  parts_->NoteWriteFailure(status);
  parts_->DropUncommitted(segment_id);
  return status;
}

// A damaged document ends the unit; it is encoded again and is then dead in this segment.
absl::Status Compaction::ReadSegment(uint64_t segment_id, Unit* unit) const {
  MSA_ASSIGN_OR_RETURN(const auto reader, parts_->OpenSegment(segment_id));
  const auto documents = reader->documents();
  std::vector<bool> is_living(documents.size());
  std::vector<DocumentRow> rows(documents.size());
  for (size_t i = 0; i < documents.size(); ++i) {
    MSA_ASSIGN_OR_RETURN(auto row, parts_->catalog->Find(documents[i].number));
    is_living[i] =
        row && row->segment == segment_id && row->document_in_segment == static_cast<int64_t>(i);
    if (is_living[i]) rows[i] = *std::move(row);
  }
  MSA_ASSIGN_OR_RETURN(auto keys, reader->TakeRouterKeys(is_living));
  for (size_t i = 0; i < documents.size(); ++i) {
    if (is_living[i]) {
      Living& living = unit->living.emplace_back();
      living.row = std::move(rows[i]);
      MSA_RETURN_IF_ERROR(ReadArrays(*reader, i, std::move(keys[i]), &living.encoded));
    } else {
      unit->num_dropped += 1;
      unit->dropped_tokens += documents[i].num_tokens;
      unit->dropped_chunks += documents[i].num_chunks;
    }
  }
  unit->segments.push_back(segment_id);
  unit->file_bytes += static_cast<int64_t>(reader->file_bytes());
  return absl::OkStatus();
}

absl::Status Compaction::ReadArrays(const SegmentReader& reader, size_t document,
                                    std::vector<std::byte> keys, EncodedDocument* out) const {
  const SegmentDocument& entry = reader.documents()[document];
  if (keys.empty()) {
    parts_->inbox->PushDamaged({entry.number, reader.segment_id()});
    return kernels::Refusal(
        absl::StatusCode::kDataLoss,
        absl::StrCat(parts_->segments->PathOf(reader.segment_id()),
                     ": the router keys of document ", entry.number, " are damaged"),
        "SEGMENT_DAMAGED");
  }
  out->num_tokens = entry.num_tokens;
  out->num_chunks = entry.num_chunks;
  out->router_keys = std::move(keys);
  out->content.resize(2 * out->router_keys.size());
  const auto num_layers = static_cast<size_t>(parts_->geometry().num_msa_layers);
  const size_t layer_bytes = out->content.size() / num_layers;
  for (size_t layer = 0; layer < num_layers; ++layer) {
    const auto content = absl::MakeSpan(out->content).subspan(layer * layer_bytes, layer_bytes);
    MSA_RETURN_IF_ERROR(reader.ReadContent(document, layer, content));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const SegmentReader>> Compaction::Write(const Unit& unit,
                                                                       uint64_t segment_id) const {
  MemoryGeometry geometry = parts_->geometry();
  geometry.instruction_set = parts_->segment_table.at(unit.segments[0]).instruction_set;
  std::vector<SegmentInput> inputs;
  for (const Living& living : unit.living) {
    inputs.push_back({living.row.number, living.row.text_hash, &living.encoded});
  }
  MSA_RETURN_IF_ERROR(WriteSegment(*parts_->segments, segment_id, geometry, inputs));
  MSA_ASSIGN_OR_RETURN(auto reader, parts_->OpenSegment(segment_id));
  reader->DropRouterKeyChecksums();
  return std::shared_ptr<const SegmentReader>(std::move(reader));
}

absl::Status Compaction::Commit(const SegmentReader* segment, const Unit& unit) {
  Catalog& catalog = *parts_->catalog;
  const auto change = [&]() -> absl::Status {
    if (segment != nullptr) MSA_RETURN_IF_ERROR(catalog.InsertSegment(RowOf(*segment)));
    for (size_t i = 0; i < unit.living.size(); ++i) {
      DocumentRow moved = unit.living[i].row;
      moved.segment = segment->segment_id();
      moved.document_in_segment = static_cast<int64_t>(i);
      MSA_RETURN_IF_ERROR(catalog.Update(moved));
    }
    for (const uint64_t id : unit.segments) MSA_RETURN_IF_ERROR(catalog.RemoveSegment(id));
    return absl::OkStatus();
  };
  MSA_RETURN_IF_ERROR(catalog.Begin());
  const absl::Status status = change();
  if (status.ok()) return catalog.Commit();
  catalog.Rollback();
  return status;
}

void Compaction::TakeEffect(std::shared_ptr<const SegmentReader> segment, const Unit& unit) {
  Publication publication;
  publication.revision = parts_->revision;
  publication.replaced_segments = unit.segments;
  int64_t file_bytes = 0;
  if (segment != nullptr) {
    file_bytes = static_cast<int64_t>(segment->file_bytes());
    parts_->segment_table[segment->segment_id()] = UseOf(*segment);
    for (size_t i = 0; i < unit.living.size(); ++i) {
      const DocumentRow& row = unit.living[i].row;
      publication.relocations.push_back({row.number, row.segment, static_cast<int64_t>(i)});
    }
    publication.segment = std::move(segment);
  }
  for (const uint64_t id : unit.segments) parts_->segment_table.erase(id);
  parts_->admission->Release(unit.dropped_tokens, 0);
  const auto num_segments = static_cast<int64_t>(parts_->segment_table.size());
  parts_->ledger->Change([&](BankStats& stats) {
    stats.num_tombstones -= unit.num_dropped;
    stats.content_bytes -= parts_->ContentBytes(unit.dropped_chunks);
    stats.num_segments = num_segments;
  });
  result_.num_dropped += unit.num_dropped;
  result_.freed_bytes += unit.file_bytes - file_bytes;
  waits_for_boundary_ = true;
  parts_->Publish(std::move(publication));
}

void Compaction::Finish(const absl::Status& status) {
  if (!is_asked()) return;
  result_.status = status;
  result_.num_segments = static_cast<int64_t>(parts_->segment_table.size());
  result_.num_pinned = static_cast<int64_t>(parts_->deleted_rows.size());
  for (Bank::CompactDone& done : requests_) done(result_);
  requests_.clear();
  result_ = {};
  if (!waiting_.empty()) due_in_ = absl::ZeroDuration();
}

void Compaction::Stop() {
  const absl::Status stopping =
      kernels::Refusal(absl::StatusCode::kUnavailable, "the bank is stopping", "STOPPING");
  Finish(stopping);
  TakeRequests();
  Finish(stopping);
}

}  // namespace msa::engine
