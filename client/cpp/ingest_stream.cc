#include "client/cpp/ingest_stream.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/active_calls.h"
#include "client/cpp/connection.h"
#include "client/cpp/error_details.h"

namespace msa::client {
namespace {

// The server names the time to wait, and the stream goes on meanwhile: patience costs nothing.
constexpr int kMaxDocumentAttempts = 100;

// Longer texts come in parts, so that a message stays small.
constexpr size_t kPartBytes = size_t{1} << 20;

int64_t TextBytes(const v1::IngestDocument& document) {
  return static_cast<int64_t>(document.text().size());
}

}  // namespace

// The stream itself; the public class only keeps gRPC out of its header.
class IngestStream::Sender {
 public:
  Sender(Connection* connection, IngestOptions options, ResultCallback on_result);
  ~Sender();

  absl::StatusOr<int64_t> ResumeAfter();
  absl::Status Add(v1::IngestDocument document);
  absl::Status Finish();
  IngestTotals totals() const;

 private:
  struct Pending {
    int64_t index = 0;
    int attempts = 0;
    v1::IngestDocument document;
  };
  using Stream = grpc::ClientReaderWriter<v1::IngestDocumentsRequest, v1::IngestDocumentsResponse>;

  void Open();  // begins a stream and sends what has no result yet
  void Send(
      Pending pending);  // under a new sequence number; a broken stream shows in reader_ended_
  void WriteDocument(const v1::IngestDocument& document);
  absl::Status WaitUntil(const std::function<bool()>& enough);  // keeps the stream going meanwhile
  absl::Status Reopen();
  absl::Status Close();  // joins the reader; how the stream ended
  absl::Status Fail(absl::Status error);
  void ReadResults(Stream* stream);  // the reader thread's work
  void HandleResult(const v1::IngestResult& result);
  void WatchProgress();                  // the watcher thread's work
  int64_t NumPending() const;            // needs mutex_
  bool HasRoomFor(int64_t bytes) const;  // needs mutex_

  Connection* const connection_;
  const IngestOptions options_;
  const ResultCallback on_result_;

  // Used by the caller's thread only.
  std::unique_ptr<Stream> stream_;
  std::thread reader_;
  std::thread watcher_;
  uint64_t next_sequence_ = 1;
  absl::Status failure_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::unique_ptr<ActiveCall> call_;
  std::map<uint64_t, Pending> in_flight_;       // by sequence
  std::multimap<absl::Time, Pending> delayed_;  // to be sent again then
  int64_t pending_bytes_ = 0;                   // of both
  int broken_attempts_ = 0;                     // streams in a row that broke off without a result
  int64_t num_signs_ = 0;                       // of life: results, and throttles
  std::optional<int64_t> resume_after_;         // once the server has said that it started
  bool reader_ended_ = false;
  bool timed_out_ = false;
  bool stopping_ = false;
  IngestTotals totals_;
};

IngestStream::Sender::Sender(Connection* connection, IngestOptions options,
                             ResultCallback on_result)
    : connection_(connection), options_(std::move(options)), on_result_(std::move(on_result)) {
  if (options_.progress_timeout < kEndlessTime) {
    watcher_ = std::thread([this] { WatchProgress(); });
  }
}

IngestStream::Sender::~Sender() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    if (call_ != nullptr) call_->context()->TryCancel();
    changed_.notify_all();
  }
  if (watcher_.joinable()) watcher_.join();
  if (stream_ != nullptr) Close().IgnoreError();
}

absl::StatusOr<int64_t> IngestStream::Sender::ResumeAfter() {
  if (!failure_.ok()) return failure_;
  if (stream_ == nullptr) Open();
  const absl::Status status = WaitUntil([this] { return resume_after_.has_value(); });
  if (!status.ok()) return status;
  std::lock_guard<std::mutex> lock(mutex_);
  next_sequence_ = static_cast<uint64_t>(*resume_after_) + 1;
  return *resume_after_;
}

absl::Status IngestStream::Sender::Add(v1::IngestDocument document) {
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

absl::Status IngestStream::Sender::Finish() {
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

IngestTotals IngestStream::Sender::totals() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return totals_;
}

void IngestStream::Sender::Open() {
  std::vector<v1::IngestDocument> unanswered;  // by sequence, which they keep
  {
    std::lock_guard<std::mutex> lock(mutex_);
    call_ = std::make_unique<ActiveCall>(&connection_->calls(), absl::InfiniteDuration());
    for (const auto& [sequence, pending] : in_flight_) unanswered.push_back(pending.document);
    reader_ended_ = false;
  }
  stream_ = connection_->memory().IngestDocuments(call_->context());
  v1::IngestDocumentsRequest request;
  request.mutable_start()->set_bank(options_.bank);
  request.mutable_start()->set_mode(options_.mode);
  request.mutable_start()->set_acknowledge_at(options_.acknowledge_at);
  request.mutable_start()->set_session_id(options_.session_id);
  stream_->Write(request);
  reader_ = std::thread([this, stream = stream_.get()] { ReadResults(stream); });
  for (const v1::IngestDocument& document : unanswered) WriteDocument(document);
}

void IngestStream::Sender::Send(Pending pending) {
  v1::IngestDocument document;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    pending.document.set_sequence(next_sequence_);
    document = pending.document;
    in_flight_.emplace(next_sequence_++, std::move(pending));
    changed_.notify_all();  // the watcher's clock starts
  }
  WriteDocument(document);
}

void IngestStream::Sender::WriteDocument(const v1::IngestDocument& document) {
  v1::IngestDocumentsRequest request;
  const std::string& text = document.text();
  if (text.size() <= kPartBytes) {
    *request.mutable_document() = document;
    stream_->Write(request);
    return;
  }
  for (size_t offset = 0; offset < text.size(); offset += kPartBytes) {
    v1::IngestPart* part = request.mutable_part();
    part->Clear();
    part->set_sequence(document.sequence());
    if (offset == 0) {
      part->set_document_id(document.document_id());
      *part->mutable_metadata() = document.metadata();
    }
    part->set_offset(static_cast<int64_t>(offset));
    part->set_text(text.substr(offset, kPartBytes));
    part->set_last(offset + kPartBytes >= text.size());
    if (!stream_->Write(request)) return;
  }
}

absl::Status IngestStream::Sender::WaitUntil(const std::function<bool()>& enough) {
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

absl::Status IngestStream::Sender::Reopen() {
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
      WaitBeforeRetry(connection_->options().retry, status, attempts, /*repeatable=*/true);
  if (!wait.has_value() || !connection_->calls().Wait(*wait)) return Fail(status);
  Open();
  return absl::OkStatus();
}

absl::Status IngestStream::Sender::Close() {
  reader_.join();
  const absl::Status status = ToAbslStatus(stream_->Finish());
  std::lock_guard<std::mutex> lock(mutex_);
  stream_.reset();
  call_.reset();
  return status;
}

absl::Status IngestStream::Sender::Fail(absl::Status error) {
  failure_ = std::move(error);
  std::lock_guard<std::mutex> lock(mutex_);
  totals_.unknown = NumPending();
  in_flight_.clear();
  delayed_.clear();
  return failure_;
}

void IngestStream::Sender::ReadResults(Stream* stream) {
  v1::IngestDocumentsResponse response;
  while (stream->Read(&response)) {
    if (response.has_result()) {
      HandleResult(response.result());
      continue;
    }
    std::lock_guard<std::mutex> lock(mutex_);
    if (response.has_started()) {
      resume_after_ = static_cast<int64_t>(response.started().resume_after());
    }
    ++num_signs_;
    changed_.notify_all();
  }
  std::lock_guard<std::mutex> lock(mutex_);
  reader_ended_ = true;
  changed_.notify_all();
}

void IngestStream::Sender::HandleResult(const v1::IngestResult& result) {
  const absl::Status error = ToAbslStatus(result.error());
  int64_t index = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = in_flight_.find(result.sequence());
    if (found == in_flight_.end()) return;
    Pending pending = std::move(found->second);
    in_flight_.erase(found);
    broken_attempts_ = 0;
    ++num_signs_;
    RetryPolicy policy = connection_->options().retry;
    policy.max_attempts = options_.session_id.empty() ? kMaxDocumentAttempts : 1;
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

void IngestStream::Sender::WatchProgress() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !in_flight_.empty(); });
    if (stopping_) return;
    const int64_t signs = num_signs_;
    const bool moved =
        changed_.wait_for(lock, absl::ToChronoNanoseconds(options_.progress_timeout),
                          [&] { return stopping_ || in_flight_.empty() || num_signs_ != signs; });
    if (!moved && call_ != nullptr) {
      timed_out_ = true;
      call_->context()->TryCancel();
      return;
    }
  }
}

int64_t IngestStream::Sender::NumPending() const {
  return static_cast<int64_t>(in_flight_.size() + delayed_.size());
}

bool IngestStream::Sender::HasRoomFor(int64_t bytes) const {
  return NumPending() == 0 || (NumPending() < options_.max_in_flight_documents &&
                               pending_bytes_ + bytes <= options_.max_in_flight_bytes);
}

IngestStream::IngestStream(Client* client, IngestOptions options, ResultCallback on_result)
    : sender_(std::make_unique<Sender>(client->connection_.get(), std::move(options),
                                       std::move(on_result))) {}

IngestStream::~IngestStream() = default;

absl::StatusOr<int64_t> IngestStream::ResumeAfter() { return sender_->ResumeAfter(); }

absl::Status IngestStream::Add(v1::IngestDocument document) {
  return sender_->Add(std::move(document));
}

absl::Status IngestStream::Finish() { return sender_->Finish(); }

IngestTotals IngestStream::totals() const { return sender_->totals(); }

}  // namespace msa::client
