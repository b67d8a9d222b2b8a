#include "tests/server/fake_bank.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/error_detail.h"

namespace msa::server {
namespace {

absl::Status DocumentError(absl::Status status, const std::string& reason, const std::string& bank,
                           const std::string& id) {
  return kernels::WithDetail(std::move(status), {.reason = reason,
                                                 .field = "",
                                                 .metadata = {{"bank", bank}, {"document_id", id}},
                                                 .retry_after = {}});
}

absl::Status NoSuchDocument(const std::string& bank, const std::string& id) {
  return DocumentError(
      absl::NotFoundError(absl::StrCat("bank \"", bank, "\" has no document \"", id, "\"")),
      "DOCUMENT_NOT_FOUND", bank, id);
}

}  // namespace

FakeBank::FakeBank(std::string name, engine::BankSettings settings)
    : name_(std::move(name)), settings_(std::move(settings)), thread_([this] { Work(); }) {}

FakeBank::~FakeBank() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void FakeBank::Hold() {
  const std::lock_guard lock(mutex_);
  holding_ = true;
}

void FakeBank::Release(size_t count) {
  const std::lock_guard lock(mutex_);
  release_ += count;
  wake_.notify_all();
}

void FakeBank::ReleaseAll() {
  const std::lock_guard lock(mutex_);
  holding_ = false;
  wake_.notify_all();
}

size_t FakeBank::num_held() const {
  const std::lock_guard lock(mutex_);
  return answers_.size();
}

std::vector<std::string> FakeBank::accepted_ids() const {
  const std::lock_guard lock(mutex_);
  return accepted_ids_;
}

engine::BankInfo FakeBank::Info() const {
  const std::lock_guard lock(mutex_);
  engine::BankInfo info;
  info.name = name_;
  info.settings = settings_;
  info.revision = revision_;
  info.create_time = absl::FromUnixSeconds(1'700'000'000);
  info.model_fingerprint = "fake";
  return info;
}

engine::BankStats FakeBank::Stats() const {
  const std::lock_guard lock(mutex_);
  engine::BankStats stats;
  stats.num_documents = static_cast<int64_t>(documents_.size());
  for (const auto& [id, document] : documents_) {
    stats.num_tokens += document.num_tokens;
    stats.num_chunks += document.num_chunks;
    stats.text_bytes += document.text_bytes;
  }
  stats.reserved_tokens = stats.num_tokens;
  stats.num_tombstones = num_tombstones;
  stats.shard_documents = {stats.num_documents, 0};
  stats.shard_chunks = {stats.num_chunks, 0};
  stats.revision = revision_;
  return stats;
}

engine::IngestResult FakeBank::Store(engine::DocumentInput document, engine::IngestMode mode) {
  engine::IngestResult result;
  result.id = document.id;
  if (check != nullptr) result.status = check(document);
  if (!result.status.ok()) return result;
  const auto found = documents_.find(document.id);
  const bool same = found != documents_.end() && found->second.text == document.text &&
                    found->second.metadata == document.metadata;
  if (found != documents_.end() && !same && mode == engine::IngestMode::kInsert) {
    result.status =
        DocumentError(absl::AlreadyExistsError(absl::StrCat(
                          "document \"", document.id, "\" is there already, with another text")),
                      "DOCUMENT_EXISTS", name_, document.id);
    return result;
  }
  if (found == documents_.end() && mode == engine::IngestMode::kUpdateOnly) {
    result.status = NoSuchDocument(name_, document.id);
    return result;
  }
  if (!same) {
    engine::DocumentInfo& stored = documents_[document.id];
    stored.id = document.id;
    stored.number = next_number_++;
    stored.state = engine::DocumentState::kActive;
    stored.metadata = std::move(document.metadata);
    stored.num_tokens = static_cast<int64_t>(document.text.size());
    stored.num_chunks = (stored.num_tokens + 63) / 64;
    stored.text_bytes = stored.num_tokens;
    stored.text = std::move(document.text);
    stored.revision = ++revision_;
    stored.shard = 0;
    stored.create_time = absl::FromUnixSeconds(1'700'000'001);
  }
  const engine::DocumentInfo& stored = documents_[document.id];
  accepted_ids_.push_back(document.id);
  result.number = stored.number;
  result.state = stored.state;
  result.num_tokens = stored.num_tokens;
  result.num_chunks = stored.num_chunks;
  result.revision = stored.revision;
  result.deduplicated = same;
  return result;
}

void FakeBank::Answer(IngestDone done, engine::IngestResult result) {
  answers_.push_back(
      [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  wake_.notify_all();
}

void FakeBank::Ingest(engine::DocumentInput document, engine::IngestMode mode,
                      engine::AcknowledgeAt, IngestDone done) {
  const absl::Status taken = take == nullptr ? absl::OkStatus() : take(document);
  if (!taken.ok()) {
    engine::IngestResult result;
    result.id = document.id;
    result.status = taken;
    done(std::move(result));
    return;
  }
  const std::lock_guard lock(mutex_);
  Answer(std::move(done), Store(std::move(document), mode));
}

void FakeBank::Update(engine::DocumentUpdate update, engine::AcknowledgeAt, IngestDone done) {
  const std::lock_guard lock(mutex_);
  const auto found = documents_.find(update.id);
  engine::IngestResult result;
  result.id = update.id;
  if (found == documents_.end()) {
    result.status = NoSuchDocument(name_, update.id);
  } else if (!update.text) {  // the number stays
    found->second.metadata = *update.metadata;
    result.number = found->second.number;
    result.state = found->second.state;
  } else {
    engine::DocumentInput document;
    document.id = update.id;
    document.text = *update.text;
    document.metadata = update.metadata.value_or(found->second.metadata);
    result = Store(std::move(document), engine::IngestMode::kUpsert);
  }
  Answer(std::move(done), std::move(result));
}

void FakeBank::ChangeSettings(engine::BankSettingsChange change, SettingsDone done) {
  const std::lock_guard lock(mutex_);
  if (change.display_name) settings_.display_name = *change.display_name;
  if (change.token_budget) settings_.token_budget = *change.token_budget;
  if (change.default_limits) settings_.default_limits = *change.default_limits;
  if (change.router_key_scan) settings_.router_key_scan = *change.router_key_scan;
  answers_.push_back([done = std::move(done)]() mutable { done(absl::OkStatus()); });
  wake_.notify_all();
}

void FakeBank::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock,
               [this] { return stopping_ || (!answers_.empty() && (!holding_ || release_ > 0)); });
    if (stopping_) return;
    const bool newest_first = holding_;
    auto answer = std::move(newest_first ? answers_.back() : answers_.front());
    newest_first ? answers_.pop_back() : answers_.pop_front();
    if (release_ > 0) --release_;
    lock.unlock();
    answer();
    answer = nullptr;
    lock.lock();
  }
}

void FakeBank::Delete(std::vector<std::string> ids, DeleteDone done) {
  DeleteResult result;
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& id : ids) {
      if (documents_.erase(id) == 0) {
        result.unknown_ids.push_back(id);
      } else {
        ++result.num_deleted;
      }
    }
    if (result.num_deleted > 0) ++revision_;
    result.revision = revision_;
  }
  done(std::move(result));
}

void FakeBank::DeleteMatching(engine::Filter filter, DeleteDone done) {
  std::vector<std::string> ids;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, document] : documents_) {
      if (filter.Matches(id, document.metadata)) ids.push_back(id);
    }
  }
  Delete(std::move(ids), std::move(done));
}

void FakeBank::Compact(CompactDone done) {
  const std::lock_guard lock(mutex_);
  answers_.push_back([this, done = std::move(done)]() mutable {
    num_tombstones = 0;
    done({.status = absl::OkStatus(),
          .num_dropped = 5,
          .freed_bytes = 4096,
          .num_segments = 1,
          .num_pinned = 2});
  });
  wake_.notify_all();
}

absl::StatusOr<engine::Bank::VerifyResult> FakeBank::Verify(engine::JobMonitor* monitor,
                                                            OnDamage on_damage) {
  if (verify != nullptr) return verify(monitor, on_damage);
  const int64_t num_documents = Stats().num_documents;
  monitor->Progress({.phase = "segments", .unit = "bytes", .done = 4096, .total = 4096});
  return VerifyResult{
      .num_documents = num_documents, .num_segments = 1, .checked_bytes = 4096, .num_damages = 0};
}

absl::StatusOr<engine::DocumentInfo> FakeBank::Get(const std::string& id, bool with_text) const {
  const std::lock_guard lock(mutex_);
  const auto found = documents_.find(id);
  if (found == documents_.end()) return NoSuchDocument(name_, id);
  engine::DocumentInfo info = found->second;
  if (!with_text) info.text.clear();
  return info;
}

absl::StatusOr<engine::DocumentPage> FakeBank::List(const std::string& after_id, int64_t limit,
                                                    bool with_text,
                                                    const engine::Filter* filter) const {
  const std::lock_guard lock(mutex_);
  engine::DocumentPage page;
  auto next = after_id.empty() ? documents_.begin() : documents_.upper_bound(after_id);
  for (int64_t rows = 0; next != documents_.end(); ++next, ++rows) {
    const bool is_tired = filter != nullptr && rows == kRowsOfPage;
    if (static_cast<int64_t>(page.documents.size()) == limit || is_tired) {
      page.next_after_id = std::prev(next)->first;
      return page;
    }
    if (filter != nullptr && !filter->Matches(next->first, next->second.metadata)) continue;
    page.documents.push_back(next->second);
    ++num_read_;
    if (!with_text) page.documents.back().text.clear();
  }
  return page;
}

engine::DocumentSet FakeBank::Select(const engine::Filter*, absl::Span<const std::string>) const {
  return {};
}

absl::StatusOr<std::vector<engine::DocumentInfo>> FakeBank::Read(absl::Span<const uint32_t>,
                                                                 const engine::BankPin&,
                                                                 bool) const {
  return absl::UnimplementedError("the server reads documents by id only");
}

std::unique_ptr<engine::BankPin> FakeBank::Pin() { return nullptr; }

const engine::Shard& FakeBank::shard(int) const {
  kernels::CheckFailed("shard", "the server never asks for shards",
                       std::source_location::current());
}

}  // namespace msa::server
