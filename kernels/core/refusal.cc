#include "kernels/core/refusal.h"

#include "absl/strings/str_cat.h"
#include "kernels/core/error_detail.h"

namespace msa::kernels {

absl::Status Refusal(absl::StatusCode code, const std::string& message, const std::string& reason,
                     const std::string& field, const std::map<std::string, std::string>& metadata,
                     std::optional<absl::Duration> retry_after) {
  kernels::ErrorDetail detail;
  detail.reason = reason;
  detail.field = field;
  detail.metadata = metadata;
  detail.retry_after = retry_after;
  return kernels::WithDetail(absl::Status(code, message), detail);
}

absl::Status Prefixed(const absl::Status& status, const std::string& prefix) {
  if (status.ok()) return status;
  absl::Status prefixed(status.code(), absl::StrCat(prefix, ": ", status.message()));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& value) { prefixed.SetPayload(url, value); });
  return prefixed;
}

}  // namespace msa::kernels
