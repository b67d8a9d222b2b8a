#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "msa/v1/memory_service.pb.h"

namespace msa::server {

// One document of an ingest stream that comes in parts. It never holds more than the longest text
// that the server takes: of one that is longer only the size is counted. Not thread-safe.
class DocumentAssembly {
 public:
  explicit DocumentAssembly(int64_t max_text_bytes) : max_text_bytes_(max_text_bytes) {}

  // The next part, the first one too. `parsed`: INVALID_UTF8 where a string of the part is not
  // UTF-8, which refuses the document. An error (INVALID_ARGUMENT) means that the parts do not make
  // a document: the stream cannot go on.
  absl::Status Add(v1::IngestPart part, const absl::Status& parsed);

  bool is_complete() const { return is_complete_; }
  uint64_t sequence() const { return document_.sequence(); }
  const std::string& document_id() const { return document_.document_id(); }
  int64_t num_bytes() const { return static_cast<int64_t>(document_.text().size()); }  // held

  // Once it is complete: the document, or why it is refused (too large, not UTF-8).
  absl::StatusOr<v1::IngestDocument> Take();

 private:
  absl::Status CheckPlace(const v1::IngestPart& part) const;

  const int64_t max_text_bytes_;
  v1::IngestDocument document_;
  int64_t text_bytes_ = 0;  // that came; more than are held once they are too many
  bool has_begun_ = false;
  bool is_complete_ = false;
  absl::Status refusal_;
};

}  // namespace msa::server
