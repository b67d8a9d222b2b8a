#include "server/status_conversion.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <string_view>

#include "absl/strings/str_format.h"
#include "engine/text/utf8.h"
#include "google/rpc/error_details.pb.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/string_view_conversion.h"
#include "server/log.h"

namespace msa::server {
namespace {

// A client refuses trailers of more than 8 KiB, and with them the status. The message is there up to
// three times: as grpc-message, where a byte that is not ASCII takes three, and in base64 in the
// details, by itself and as what is wrong with a field.
constexpr size_t kMaxMessageBytes = 512;
constexpr size_t kMaxValueBytes = 256;

// Well-formed and at most `max_bytes`: an ellipsis stands for what is cut.
std::string Shorten(std::string_view text, size_t max_bytes) {
  constexpr std::string_view kEllipsis = "…";
  std::string well_formed = engine::ReplaceInvalidUtf8(text);
  if (well_formed.size() <= max_bytes) return well_formed;
  size_t end = max_bytes - kEllipsis.size();
  const auto is_inside_character = [&] {
    return (static_cast<uint8_t>(well_formed[end]) & 0xc0) == 0x80;
  };
  while (end > 0 && is_inside_character()) --end;
  well_formed.resize(end);
  return well_formed.append(kEllipsis);
}

std::string NewIncident() {
  static thread_local std::random_device device;
  return absl::StrFormat("%08x%08x", device(), device());
}

void AddDetails(const kernels::ErrorDetail& detail, const std::string& message,
                google::rpc::Status* out) {
  google::rpc::ErrorInfo info;
  info.set_reason(Shorten(detail.reason, kMaxValueBytes));
  info.set_domain(kErrorDomain);
  for (const auto& [key, value] : detail.metadata) {
    (*info.mutable_metadata())[Shorten(key, kMaxValueBytes)] = Shorten(value, kMaxValueBytes);
  }
  out->add_details()->PackFrom(info);
  if (!detail.field.empty()) {
    google::rpc::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(Shorten(detail.field, kMaxValueBytes));
    violation->set_description(message);
    out->add_details()->PackFrom(bad_request);
  }
  if (detail.retry_after) {
    google::rpc::RetryInfo retry;
    const absl::Duration wait = std::max(*detail.retry_after, absl::ZeroDuration());
    const int64_t milliseconds = absl::ToInt64Milliseconds(std::min(wait, absl::Hours(24)));
    retry.mutable_retry_delay()->set_seconds(milliseconds / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(milliseconds % 1000) * 1'000'000);
    out->add_details()->PackFrom(retry);
  }
}

// The engine names what its caller handed in; the client knows it by the request's fields.
std::string FieldOfRequest(const std::string& field) {
  static const auto* names =
      new std::map<std::string, std::string>{{"documents.id", "document.document_id"},
                                             {"documents.text", "document.text"},
                                             {"documents.metadata", "document.metadata"},
                                             {"token_budget", "settings.token_budget"}};
  const auto found = names->find(field);
  return found == names->end() ? field : found->second;
}

bool HidesCause(absl::StatusCode code) {
  return code == absl::StatusCode::kInternal || code == absl::StatusCode::kUnknown;
}

}  // namespace

google::rpc::Status ToRpcStatus(const absl::Status& status, std::string_view where) {
  google::rpc::Status out;
  if (status.ok()) return out;
  kernels::ErrorDetail detail;
  if (HidesCause(status.code())) {
    const std::string incident = NewIncident();
    Log(LogLevel::kError, "internal error",
        {{"incident", incident}, {"where", std::string(where)}, {"cause", status.ToString()}});
    out.set_code(static_cast<int>(absl::StatusCode::kInternal));
    out.set_message("internal error; the server's log has the cause under incident " + incident);
    detail.reason = "INTERNAL";
    detail.metadata["incident"] = incident;
  } else {
    out.set_code(static_cast<int>(status.code()));
    out.set_message(Shorten(kernels::ToStd(status.message()), kMaxMessageBytes));
    detail = kernels::DetailOf(status);
    detail.field = FieldOfRequest(detail.field);
    if (detail.reason.empty()) detail.reason = absl::StatusCodeToString(status.code());
  }
  AddDetails(detail, out.message(), &out);
  return out;
}

grpc::Status ToGrpcStatus(const absl::Status& status, std::string_view where) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status rpc = ToRpcStatus(status, where);
  return grpc::Status(static_cast<grpc::StatusCode>(rpc.code()), rpc.message(),
                      rpc.SerializeAsString());
}

}  // namespace msa::server
