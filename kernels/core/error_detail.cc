#include "kernels/core/error_detail.h"

#include "absl/strings/cord.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::kernels {
namespace {

constexpr std::string_view kReason = "msa/reason";
constexpr std::string_view kField = "msa/field";
constexpr std::string_view kRetryAfter = "msa/retry_after";
constexpr std::string_view kMetadata = "msa/metadata/";

}  // namespace

absl::Status WithDetail(absl::Status status, const ErrorDetail& detail) {
  if (!detail.reason.empty()) status.SetPayload(ToAbsl(kReason), absl::Cord(detail.reason));
  if (!detail.field.empty()) status.SetPayload(ToAbsl(kField), absl::Cord(detail.field));
  if (detail.retry_after) {
    status.SetPayload(ToAbsl(kRetryAfter), absl::Cord(absl::FormatDuration(*detail.retry_after)));
  }
  for (const auto& [key, value] : detail.metadata) {
    status.SetPayload(std::string(kMetadata) + key, absl::Cord(value));
  }
  return status;
}

ErrorDetail DetailOf(const absl::Status& status) {
  ErrorDetail detail;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) {
    const std::string_view key = ToStd(url);
    if (key == kReason) detail.reason = std::string(value);
    if (key == kField) detail.field = std::string(value);
    if (key.starts_with(kMetadata))
      detail.metadata[std::string(key.substr(kMetadata.size()))] = std::string(value);
    absl::Duration wait;
    if (key == kRetryAfter && absl::ParseDuration(std::string(value), &wait))
      detail.retry_after = wait;
  });
  return detail;
}

}  // namespace msa::kernels
