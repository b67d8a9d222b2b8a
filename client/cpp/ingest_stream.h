#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/active_calls.h"
#include "client/cpp/client.h"

namespace msa::client {

struct IngestOptions {
  std::string bank;
  v1::IngestMode mode = v1::INGEST_MODE_INSERT;
  v1::AcknowledgeAt acknowledge_at = v1::ACKNOWLEDGE_AT_ACTIVE;
  // Documents, and bytes of their texts, without a result at which Add waits. One document may
  // always be on its way.
  int64_t max_in_flight_documents = 512;
  int64_t max_in_flight_bytes = int64_t{16} << 20;
  // Ends with DEADLINE_EXCEEDED when documents are on their way and no result comes for this long.
  absl::Duration progress_timeout = absl::InfiniteDuration();
};

// What became of the documents of one IngestStream.
struct IngestTotals {
  int64_t documents = 0;     // handed to Add; the sum of the next four
  int64_t stored = 0;        // new or replaced
  int64_t deduplicated = 0;  // were there already
  int64_t failed = 0;        // refused by the server
  int64_t unknown = 0;       // without a result when the stream failed: stored or not
  int64_t tokens = 0;        // of the stored documents
};

// Adds documents to a bank: fills the server's window, waits where it is full, sends documents
// again that the server asks to send later, and opens the stream again when it breaks off with a
// hope (the documents without a result are sent again, which does nothing where the server has them
// already). What is sent again may reach the server after later documents. Use from one thread.
class IngestStream {
 public:
  // Called once per document, in any order, on a thread of the stream, one call at a time. `index`
  // is the document's place in the order of Add, from 0; `result.sequence` is meaningless.
  using ResultCallback = std::function<void(int64_t index, const v1::IngestResult& result)>;

  // `client` must outlive the stream; its timeout does not apply.
  IngestStream(Client* client, IngestOptions options, ResultCallback on_result);
  ~IngestStream();  // cancels what was not finished
  IngestStream(const IngestStream&) = delete;
  IngestStream& operator=(const IngestStream&) = delete;

  // Sends one document, after waiting for room. Its `sequence` is set here. An error is final: the
  // stream has ended.
  absl::Status Add(v1::IngestDocument document);

  // Waits for all results. The error that ended the stream, if one did; totals() holds in any case.
  // Add no more.
  absl::Status Finish();

  // Final after Finish.
  IngestTotals totals() const;

 private:
  struct Pending {
    int64_t index = 0;
    int attempts = 0;
    v1::IngestDocument document;
  };
  using Stream = grpc::ClientReaderWriter<v1::IngestDocumentsRequest, v1::IngestDocumentsResponse>;

  void Open();                 // begins a stream and sends what has no result yet
  void Send(Pending pending);  // a broken stream shows in reader_ended_
  absl::Status WaitUntil(const std::function<bool()>& enough);  // keeps the stream going meanwhile
  absl::Status Reopen();
  absl::Status Close();  // joins the reader; how the stream ended
  absl::Status Fail(absl::Status error);
  void ReadResults(Stream* stream);  // the reader thread's work
  void HandleResult(const v1::IngestResult& result);
  void WatchProgress();                  // the watcher thread's work
  int64_t NumPending() const;            // needs mutex_
  bool HasRoomFor(int64_t bytes) const;  // needs mutex_

  Client* const client_;
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
  int64_t num_results_ = 0;
  bool reader_ended_ = false;
  bool timed_out_ = false;
  bool stopping_ = false;
  IngestTotals totals_;
};

}  // namespace msa::client
