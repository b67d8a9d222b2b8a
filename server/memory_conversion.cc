#include "server/memory_conversion.h"

#include <variant>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/files/checksum.h"
#include "engine/text/utf8.h"
#include "kernels/core/string_view_conversion.h"
#include "server/generation_limits.h"
#include "server/request_validation.h"
#include "server/status_conversion.h"

namespace msa::server {
namespace {

// The version of the format, and what the token belongs to. Bank names have no line breaks.
std::string TokenStart(const v1::ListDocumentsRequest& request) {
  return absl::StrCat("2\n", request.bank(), "\n", engine::Checksum(request.filter()), "\n");
}

void ToProto(const engine::MetadataValue& value, v1::MetadataValue* out) {
  if (const auto* text = std::get_if<std::string>(&value)) out->set_string_value(*text);
  if (const auto* number = std::get_if<double>(&value)) out->set_number_value(*number);
  if (const auto* flag = std::get_if<bool>(&value)) out->set_bool_value(*flag);
}

}  // namespace

void ToProto(absl::Time time, google::protobuf::Timestamp* out) {
  const int64_t nanoseconds = absl::ToUnixNanos(time);
  const int64_t seconds = absl::ToUnixSeconds(time);
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(nanoseconds - seconds * 1'000'000'000));
}

void ToProto(absl::Duration duration, google::protobuf::Duration* out) {
  const int64_t nanoseconds = absl::ToInt64Nanoseconds(duration);
  out->set_seconds(nanoseconds / 1'000'000'000);
  out->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
}

void ToProto(const engine::BankInfo& info, v1::Bank* out) {
  out->set_name(info.name);
  out->mutable_settings()->set_display_name(info.settings.display_name);
  out->mutable_settings()->set_token_budget(info.settings.token_budget);
  if (info.settings.default_limits != engine::QueryLimits{})
    ToProto(info.settings.default_limits, out->mutable_settings()->mutable_default_limits());
  out->mutable_settings()->set_router_key_scan(
      info.settings.router_key_scan == engine::RouterKeyScan::kInt8 ? v1::ROUTER_KEY_SCAN_INT8
                                                                    : v1::ROUTER_KEY_SCAN_EXACT);
  out->set_revision(info.revision);
  ToProto(info.create_time, out->mutable_create_time());
  out->set_dtype(std::string(kernels::NameOf(info.dtype)));
  out->set_model_fingerprint(info.model_fingerprint);
  if (!info.problem.ok()) {
    out->set_problem(engine::ReplaceInvalidUtf8(kernels::ToStd(info.problem.message())));
  }
}

void ToProto(const engine::BankStats& stats, v1::BankStats* out) {
  out->set_documents(stats.num_documents);
  out->set_accepted_documents(stats.num_accepted);
  out->set_failed_documents(stats.num_failed);
  out->set_tombstones(stats.num_tombstones);
  out->set_tokens(stats.num_tokens);
  out->set_chunks(stats.num_chunks);
  out->set_reserved_tokens(stats.reserved_tokens);
  out->set_router_key_bytes(stats.router_key_bytes);
  out->set_content_bytes(stats.content_bytes);
  out->set_text_bytes(stats.text_bytes);
  out->set_index_bytes(stats.index_bytes);
  out->set_segments(stats.num_segments);
  out->set_revision(stats.revision);
  for (size_t i = 0; i < stats.shard_documents.size(); ++i) {
    v1::ShardStats* shard = out->add_shards();
    shard->set_shard(static_cast<int32_t>(i));
    shard->set_documents(stats.shard_documents[i]);
    if (i < stats.shard_chunks.size()) shard->set_chunks(stats.shard_chunks[i]);
  }
}

void ToProto(const engine::DocumentInfo& info, v1::Document* out) {
  out->set_id(info.id);
  out->set_number(info.number);
  out->set_state(ToProto(info.state));
  for (const auto& [key, value] : info.metadata) ToProto(value, &(*out->mutable_metadata())[key]);
  out->set_text(info.text);
  out->set_tokens(info.num_tokens);
  out->set_chunks(info.num_chunks);
  out->set_text_bytes(info.text_bytes);
  out->set_revision(info.revision);
  if (info.shard >= 0) out->set_shard(info.shard);
  ToProto(info.create_time, out->mutable_create_time());
  if (!info.failure.ok()) *out->mutable_failure() = ToRpcStatus(info.failure, "encoding");
}

v1::DocumentState ToProto(engine::DocumentState state) {
  switch (state) {
    case engine::DocumentState::kAccepted:
      return v1::DOCUMENT_STATE_ACCEPTED;
    case engine::DocumentState::kActive:
      return v1::DOCUMENT_STATE_ACTIVE;
    case engine::DocumentState::kFailed:
      return v1::DOCUMENT_STATE_FAILED;
    case engine::DocumentState::kDeleted:
      return v1::DOCUMENT_STATE_DELETED;
  }
  return v1::DOCUMENT_STATE_UNSPECIFIED;
}

std::string MakePageToken(const v1::ListDocumentsRequest& request, const std::string& after_id) {
  std::string token;
  absl::WebSafeBase64Escape(absl::StrCat(TokenStart(request), after_id), &token);
  return token;
}

absl::StatusOr<std::string> ParsePageToken(const v1::ListDocumentsRequest& request) {
  if (request.page_token().empty()) return std::string();
  std::string plain;
  const std::string start = TokenStart(request);
  if (!absl::WebSafeBase64Unescape(request.page_token(), &plain) || !plain.starts_with(start) ||
      plain.size() == start.size()) {
    return InvalidField("page_token", "INVALID_PAGE_TOKEN",
                        "page_token was not made for this bank and filter; take next_page_token "
                        "of their last page");
  }
  return plain.substr(start.size());
}

}  // namespace msa::server
