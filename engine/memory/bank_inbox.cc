#include "engine/memory/bank_inbox.h"

#include "absl/strings/str_cat.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

int64_t BytesOf(const DocumentInput& document) {
  size_t bytes = document.id.size() + document.text.size();
  for (const auto& [key, value] : document.metadata) {
    const auto* text = std::get_if<std::string>(&value);
    bytes += key.size() + sizeof(value) + (text == nullptr ? 0 : text->size());
  }
  return static_cast<int64_t>(bytes);
}

absl::Status Stopping() {
  return kernels::Refusal(absl::StatusCode::kUnavailable, "the bank is stopping", "STOPPING");
}

absl::Status TooMuch(const std::string& what, int64_t limit) {
  return kernels::Refusal(absl::StatusCode::kResourceExhausted,
                          absl::StrCat("too much waits to be stored: ", what, " of ", limit),
                          "TOO_MANY_PENDING_DOCUMENTS", "", {{"limit", absl::StrCat(limit)}},
                          absl::Seconds(1));
}

}  // namespace

absl::Status BankInbox::PushIngest(IngestRequest& request) {
  const int64_t bytes = BytesOf(request.document);
  {
    const std::lock_guard lock(mutex_);
    if (refuses_ingest_) return Stopping();
    MSA_RETURN_IF_ERROR(changes_refusal_);  // also of a bank that another has replaced
    if (closed_) return Stopping();
    if (static_cast<int64_t>(ingests_.size()) >= max_requests_) {
      return TooMuch(absl::StrCat(ingests_.size(), " documents"), max_requests_);
    }
    // One document of any size is taken when nothing waits; its size is checked later, by name.
    if (!ingests_.empty() && ingest_bytes_ + bytes > max_bytes_) {
      return TooMuch(absl::StrCat(ingest_bytes_ + bytes, " bytes"), max_bytes_);
    }
    ingests_.push_back(std::move(request));
    ingest_bytes_ += bytes;
  }
  changed_.notify_one();
  return absl::OkStatus();
}

absl::Status BankInbox::PushDelete(DeleteRequest& request) {
  return Push(request, "deletes", &deletes_, changes_refusal_);
}

absl::Status BankInbox::PushSettings(SettingsRequest& request) {
  return Push(request, "changes of settings", &settings_, changes_refusal_);
}

absl::Status BankInbox::PushCompact(CompactRequest& request) {
  return Push(request, "compactions", &compacts_, absl::OkStatus());
}

template <class Request>
absl::Status BankInbox::Push(Request& request, const char* what, std::vector<Request>* requests,
                             const absl::Status& refusal) {
  {
    const std::lock_guard lock(mutex_);
    MSA_RETURN_IF_ERROR(refusal);
    if (closed_) return Stopping();
    if (static_cast<int64_t>(requests->size()) >= max_requests_) {
      return TooMuch(absl::StrCat(requests->size(), " ", what), max_requests_);
    }
    requests->push_back(std::move(request));
  }
  changed_.notify_one();
  return absl::OkStatus();
}

void BankInbox::PushEncoded(EncodeResult result) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    encoded_.push_back(std::move(result));
  }
  changed_.notify_one();
}

void BankInbox::PushDamaged(DamagedDocument document) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    for (const DamagedDocument& known : damaged_) {
      if (known.number == document.number && known.segment == document.segment) return;
    }
    damaged_.push_back(document);
  }
  changed_.notify_one();
}

void BankInbox::Poke() {
  {
    const std::lock_guard lock(mutex_);
    poked_ = true;
  }
  changed_.notify_one();
}

void BankInbox::RefuseIngest() {
  const std::lock_guard lock(mutex_);
  refuses_ingest_ = true;
}

void BankInbox::RefuseChanges(const absl::Status& reason) {
  const std::lock_guard lock(mutex_);
  changes_refusal_ = reason;
}

void BankInbox::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_one();
  idle_changed_.notify_all();
}

bool BankInbox::HasEvents() const {
  return !deletes_.empty() || !settings_.empty() || !compacts_.empty() || !encoded_.empty() ||
         !damaged_.empty() || poked_ || closed_;
}

bool BankInbox::WaitIdle(absl::Duration timeout) {
  std::unique_lock lock(mutex_);
  return idle_changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout), [&] {
    return closed_ || (is_idle_ && ingests_.empty() && !HasEvents());
  });
}

bool BankInbox::Wait(bool takes_ingests, bool is_idle, absl::Duration timeout) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return HasEvents() || (takes_ingests && !ingests_.empty()); };
  is_idle_ = is_idle && ingests_.empty() && !HasEvents();
  if (is_idle_) idle_changed_.notify_all();
  if (timeout == absl::InfiniteDuration()) {
    changed_.wait(lock, ready);
  } else {
    changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout), ready);
  }
  is_idle_ = false;
  poked_ = false;
  return !closed_;
}

std::optional<IngestRequest> BankInbox::PopIngest() {
  const std::lock_guard lock(mutex_);
  if (ingests_.empty()) return std::nullopt;
  IngestRequest request = std::move(ingests_.front());
  ingests_.pop_front();
  ingest_bytes_ -= BytesOf(request.document);
  return request;
}

std::vector<DeleteRequest> BankInbox::TakeDeletes() {
  const std::lock_guard lock(mutex_);
  return std::exchange(deletes_, {});
}

std::vector<SettingsRequest> BankInbox::TakeSettings() {
  const std::lock_guard lock(mutex_);
  return std::exchange(settings_, {});
}

std::vector<CompactRequest> BankInbox::TakeCompacts() {
  const std::lock_guard lock(mutex_);
  return std::exchange(compacts_, {});
}

std::vector<EncodeResult> BankInbox::TakeEncoded() {
  const std::lock_guard lock(mutex_);
  return std::exchange(encoded_, {});
}

std::vector<DamagedDocument> BankInbox::TakeDamaged() {
  const std::lock_guard lock(mutex_);
  return std::exchange(damaged_, {});
}

bool BankInbox::is_closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

bool BankInbox::refuses_ingest() const {
  const std::lock_guard lock(mutex_);
  return refuses_ingest_;
}

bool BankInbox::has_ingests() const {
  const std::lock_guard lock(mutex_);
  return !ingests_.empty();
}

}  // namespace msa::engine
