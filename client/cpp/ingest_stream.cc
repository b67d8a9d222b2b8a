#include "client/cpp/ingest_stream.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/error_details.h"

namespace msa::client {
namespace {

// The server names the time to wait, and the stream goes on meanwhile: patience costs nothing.
constexpr int kMaxDocumentAttempts = 100;

int64_t TextBytes(const v1::IngestDocument& document) {
  return static_cast<int64_t>(document.text().size());
}

}  // namespace

IngestStream::IngestStream(Client* client, IngestOptions options, ResultCallback on_result)
    : client_(client), options_(std::move(options)), on_result_(std::move(on_result)) {
  if (options_.progress_timeout != absl::InfiniteDuration()) {
    watcher_ = std::thread([this] { WatchProgress(); });
  }
}

IngestStream::~IngestStream() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    if (call_ != nullptr) call_->context()->TryCancel();
    changed_.notify_all();
  }
  if (watcher_.joinable()) watcher_.join();
  if (stream_ != nullptr) Close().IgnoreError();
}

absl::Status IngestStream::Add(v1::IngestDocument document) {
  if (!failure_.ok()) return failure_;
  if (stream_ == nullptr) Open();
  const int64_t bytes = TextBytes(document);
  const absl::Status status = WaitUntil([this, bytes] { return HasRoomFor(bytes); });
  if (!status.ok()) return status;
  Pending pending;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    pending.index = totals_.documents++;
    pending_bytes_ += bytes;
  }
  pending.document = std::move(document);
  Send(std::move(pending));
  return absl::OkStatus();
}

absl::Status IngestStream::Finish() {
  if (!failure_.ok()) return failure_;
  if (stream_ == nullptr) Open();
  absl::Status status = WaitUntil([this] { return NumPending() == 0; });
  if (!status.ok()) return status;
  stream_->WritesDone();
  status = Close();
  std::lock_guard<std::mutex> lock(mutex_);
  // With every result at hand it does not matter how the stream ended. Without a document it says
  // whether one could be added.
  return totals_.documents > 0 ? absl::OkStatus() : status;
}

IngestTotals IngestStream::totals() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return totals_;
}

void IngestStream::Open() {
  std::map<uint64_t, Pending> unanswered;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    call_ = std::make_unique<ActiveCall>(&client_->calls_, absl::InfiniteDuration());
    unanswered.swap(in_flight_);
    reader_ended_ = false;
  }
  stream_ = client_->memory_->IngestDocuments(call_->context());
  v1::IngestDocumentsRequest request;
  request.mutable_start()->set_bank(options_.bank);
  request.mutable_start()->set_mode(options_.mode);
  request.mutable_start()->set_acknowledge_at(options_.acknowledge_at);
  stream_->Write(request);
  reader_ = std::thread([this, stream = stream_.get()] { ReadResults(stream); });
  for (auto& [sequence, pending] : unanswered) Send(std::move(pending));
}

void IngestStream::Send(Pending pending) {
  v1::IngestDocumentsRequest request;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    pending.document.set_sequence(next_sequence_);
    *request.mutable_document() = pending.document;
    in_flight_.emplace(next_sequence_++, std::move(pending));
    changed_.notify_all();  // the watcher's clock starts
  }
  stream_->Write(request);
}

absl::Status IngestStream::WaitUntil(const std::function<bool()>& enough) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    if (reader_ended_) {
      lock.unlock();
      const absl::Status status = Reopen();
      if (!status.ok()) return status;
      lock.lock();
      continue;
    }
    const absl::Time now = absl::Now();
    if (!delayed_.empty() && delayed_.begin()->first <= now) {
      Pending pending = std::move(delayed_.begin()->second);
      delayed_.erase(delayed_.begin());
      lock.unlock();
      Send(std::move(pending));
      lock.lock();
      continue;
    }
    if (enough()) return absl::OkStatus();
    if (delayed_.empty()) {
      changed_.wait(lock);
    } else {
      changed_.wait_for(lock, absl::ToChronoNanoseconds(delayed_.begin()->first - now));
    }
  }
}

absl::Status IngestStream::Reopen() {
  absl::Status status = Close();
  if (status.ok()) status = absl::InternalError("the server ended the ingest stream early");
  int attempts = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (timed_out_) {
      status = absl::DeadlineExceededError(
          absl::StrCat("no result came for ", absl::FormatDuration(options_.progress_timeout),
                       ", with ", in_flight_.size(), " documents on their way"));
    }
    attempts = ++broken_attempts_;
  }
  const std::optional<absl::Duration> wait =
      WaitBeforeRetry(client_->options_.retry, status, attempts, /*repeatable=*/true);
  if (!wait.has_value() || !client_->calls_.Wait(*wait)) return Fail(status);
  Open();
  return absl::OkStatus();
}

absl::Status IngestStream::Close() {
  reader_.join();
  const absl::Status status = ToAbslStatus(stream_->Finish());
  std::lock_guard<std::mutex> lock(mutex_);
  stream_.reset();
  call_.reset();
  return status;
}

absl::Status IngestStream::Fail(absl::Status error) {
  failure_ = std::move(error);
  std::lock_guard<std::mutex> lock(mutex_);
  totals_.unknown = NumPending();
  in_flight_.clear();
  delayed_.clear();
  return failure_;
}

void IngestStream::ReadResults(Stream* stream) {
  v1::IngestDocumentsResponse response;
  while (stream->Read(&response)) {
    if (response.has_result()) HandleResult(response.result());
  }
  std::lock_guard<std::mutex> lock(mutex_);
  reader_ended_ = true;
  changed_.notify_all();
}

void IngestStream::HandleResult(const v1::IngestResult& result) {
  const absl::Status error = ToAbslStatus(result.error());
  int64_t index = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = in_flight_.find(result.sequence());
    if (found == in_flight_.end()) return;
    Pending pending = std::move(found->second);
    in_flight_.erase(found);
    broken_attempts_ = 0;
    ++num_results_;
    RetryPolicy policy = client_->options_.retry;
    policy.max_attempts = kMaxDocumentAttempts;
    const std::optional<absl::Duration> wait =
        WaitBeforeRetry(policy, error, ++pending.attempts, /*repeatable=*/false);
    if (wait.has_value()) {
      delayed_.emplace(absl::Now() + *wait, std::move(pending));
      changed_.notify_all();
      return;
    }
    index = pending.index;
    pending_bytes_ -= TextBytes(pending.document);
    if (!error.ok()) {
      ++totals_.failed;
    } else if (result.deduplicated()) {
      ++totals_.deduplicated;
    } else {
      ++totals_.stored;
      totals_.tokens += result.tokens();
    }
  }
  on_result_(index, result);
  std::lock_guard<std::mutex> lock(mutex_);
  changed_.notify_all();
}

void IngestStream::WatchProgress() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !in_flight_.empty(); });
    if (stopping_) return;
    const int64_t results = num_results_;
    const bool moved = changed_.wait_for(
        lock, absl::ToChronoNanoseconds(options_.progress_timeout),
        [&] { return stopping_ || in_flight_.empty() || num_results_ != results; });
    if (!moved && call_ != nullptr) {
      timed_out_ = true;
      call_->context()->TryCancel();
      return;
    }
  }
}

int64_t IngestStream::NumPending() const {
  return static_cast<int64_t>(in_flight_.size() + delayed_.size());
}

bool IngestStream::HasRoomFor(int64_t bytes) const {
  return NumPending() == 0 || (NumPending() < options_.max_in_flight_documents &&
                               pending_bytes_ + bytes <= options_.max_in_flight_bytes);
}

}  // namespace msa::client
