#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

// Machine-readable detail that travels with an absl::Status as payloads; the server turns it into
// google.rpc messages.
namespace msa::kernels {

struct ErrorDetail {
  std::string reason;  // UPPER_SNAKE_CASE, e.g. "DOCUMENT_TOO_LARGE"; empty: none
  std::string field;   // the request field that is wrong, e.g. "documents.text"; empty: none
  std::map<std::string, std::string> metadata;  // e.g. {"limit", "8192"}, {"actual", "9000"}
  std::optional<absl::Duration> retry_after;    // set only where waiting helps
};

absl::Status WithDetail(absl::Status status, const ErrorDetail& detail);
ErrorDetail DetailOf(const absl::Status& status);  // empty reason when there is none

}  // namespace msa::kernels
