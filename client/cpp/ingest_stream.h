#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/client.h"

namespace msa::client {

struct IngestOptions {
  std::string bank;
  v1::IngestMode mode = v1::INGEST_MODE_INSERT;
  v1::AcknowledgeAt acknowledge_at = v1::ACKNOWLEDGE_AT_ACTIVE;
  // Chosen by the caller, at most 128 bytes; empty: none. A later stream of the same session, of
  // another process too, goes on where this one ended (ResumeAfter). Documents that the server asks
  // to send later count as refused then, so that a document's place stays its place.
  std::string session_id;
  // Documents, and bytes of their texts, without a result at which Add waits. One document may
  // always be on its way.
  int64_t max_in_flight_documents = 512;
  int64_t max_in_flight_bytes = int64_t{16} << 20;
  // Ends with DEADLINE_EXCEEDED when documents are on their way and no result comes for this long,
  // nor word that the bank has no room just now.
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
// already). What is sent again may reach the server after later documents. Long texts are sent in
// parts. Use from one thread.
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

  // With a session, before the first Add: how many documents of it have had their results already.
  // The first document of this stream is the one after them. 0 where the server does not know it.
  absl::StatusOr<int64_t> ResumeAfter();

  // Sends one document, after waiting for room. Its `sequence` is set here. An error is final: the
  // stream has ended.
  absl::Status Add(v1::IngestDocument document);

  // Waits for all results. The error that ended the stream, if one did; totals() holds in any case.
  // Add no more.
  absl::Status Finish();

  // Final after Finish.
  IngestTotals totals() const;

 private:
  class Sender;
  const std::unique_ptr<Sender> sender_;
};

}  // namespace msa::client
