#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/error_detail.h"
#include "tests/server/fake_engine.h"

namespace msa::server {

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
    result.status = kernels::WithDetail(
        absl::AlreadyExistsError(
            absl::StrCat("document \"", document.id, "\" is there already, with another text")),
        {.reason = "DOCUMENT_EXISTS",
         .field = "document.document_id",
         .metadata = {{"bank", name_}, {"document_id", document.id}},
         .retry_after = {}});
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

void FakeBank::Ingest(engine::DocumentInput document, engine::IngestMode mode,
                      engine::AcknowledgeAt, IngestDone done) {
  const std::lock_guard lock(mutex_);
  answers_.emplace_back(std::move(done), Store(std::move(document), mode));
  wake_.notify_all();
}

void FakeBank::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock,
               [this] { return stopping_ || (!answers_.empty() && (!holding_ || release_ > 0)); });
    if (stopping_) return;
    const bool newest_first = holding_;
    auto [done, result] = std::move(newest_first ? answers_.back() : answers_.front());
    newest_first ? answers_.pop_back() : answers_.pop_front();
    if (release_ > 0) --release_;
    lock.unlock();
    done(std::move(result));
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
  done({.status = absl::OkStatus(),
        .num_dropped = 5,
        .freed_bytes = 4096,
        .num_segments = 1,
        .num_pinned = 2});
}

absl::StatusOr<engine::DocumentInfo> FakeBank::Get(const std::string& id, bool with_text) const {
  const std::lock_guard lock(mutex_);
  const auto found = documents_.find(id);
  if (found == documents_.end()) {
    return kernels::WithDetail(
        absl::NotFoundError(absl::StrCat("bank \"", name_, "\" has no document \"", id, "\"")),
        {.reason = "DOCUMENT_NOT_FOUND",
         .field = "",
         .metadata = {{"bank", name_}, {"document_id", id}},
         .retry_after = {}});
  }
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
