#include "server/memory_validation.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/core/status_macros.h"
#include "server/generation_limits.h"
#include "server/request_validation.h"

namespace msa::server {
namespace {

using MetadataFields = google::protobuf::Map<std::string, v1::MetadataValue>;

constexpr int64_t kMaxTokenBudget = int64_t{1} << 50;

absl::Status SetMetadataValue(const std::string& field, const v1::MetadataValue& value,
                              engine::MetadataValue* out) {
  switch (value.kind_case()) {
    case v1::MetadataValue::kStringValue:
      out->emplace<std::string>(value.string_value());
      return absl::OkStatus();
    case v1::MetadataValue::kNumberValue:
      out->emplace<double>(value.number_value());
      if (std::isfinite(value.number_value())) return absl::OkStatus();
      return InvalidField(field, "INVALID_METADATA",
                          absl::StrCat(field, " must be a finite number"));
    case v1::MetadataValue::kBoolValue:
      out->emplace<bool>(value.bool_value());
      return absl::OkStatus();
    case v1::MetadataValue::KIND_NOT_SET:
      break;
  }
  return InvalidField(field, "INVALID_METADATA",
                      absl::StrCat(field, " must be a string, a number or a bool"));
}

absl::StatusOr<engine::Metadata> ToMetadata(const std::string& field,
                                            const MetadataFields& metadata) {
  engine::Metadata out;
  for (const auto& [key, value] : metadata) {
    MSA_RETURN_IF_ERROR(SetMetadataValue(absl::StrCat(field, ".", key), value, &out[key]));
  }
  return out;
}

absl::Status CheckText(const std::string& field, const std::string& text,
                       const ServerOptions::Limits& limits) {
  MSA_RETURN_IF_ERROR(CheckNotEmpty(field, text));
  return CheckLength(field, "DOCUMENT_TOO_LARGE", text, limits.max_document_bytes);
}

absl::Status CheckDisplayName(const std::string& name) {
  return CheckLength("settings.display_name", "INVALID_VALUE", name, kMaxDisplayNameBytes);
}

absl::Status CheckTokenBudget(int64_t tokens) {
  return CheckRange("settings.token_budget", tokens, 0, kMaxTokenBudget);
}

// At least one path, each of `allowed`.
absl::Status CheckMask(const google::protobuf::FieldMask& mask,
                       const std::vector<std::string>& allowed) {
  const std::string names = absl::StrJoin(allowed, ", ");
  if (mask.paths().empty()) {
    return InvalidField("update_mask", "MISSING_FIELD",
                        absl::StrCat("update_mask is empty; allowed are ", names));
  }
  for (const std::string& path : mask.paths()) {
    if (std::find(allowed.begin(), allowed.end(), path) != allowed.end()) continue;
    return InvalidField("update_mask", "INVALID_VALUE",
                        absl::StrCat("update_mask names \"", path, "\"; allowed are ", names),
                        {{"actual", path}});
  }
  return absl::OkStatus();
}

absl::StatusOr<engine::RouterKeyScan> ToRouterKeyScan(v1::RouterKeyScan scan) {
  switch (scan) {
    case v1::ROUTER_KEY_SCAN_UNSPECIFIED:
    case v1::ROUTER_KEY_SCAN_EXACT:
      return engine::RouterKeyScan::kExact;
    case v1::ROUTER_KEY_SCAN_INT8:
      return engine::RouterKeyScan::kInt8;
    default:
      return InvalidField("settings.router_key_scan", "INVALID_VALUE",
                          absl::StrCat("settings.router_key_scan is ", static_cast<int>(scan),
                                       "; allowed are EXACT (1) and INT8 (2)"),
                          {{"actual", absl::StrCat(static_cast<int>(scan))}});
  }
}

bool Names(const google::protobuf::FieldMask& mask, const std::string& path) {
  return std::find(mask.paths().begin(), mask.paths().end(), path) != mask.paths().end();
}

}  // namespace

absl::StatusOr<engine::BankSettings> ToBankSettings(const v1::CreateBankRequest& request,
                                                    const ServerOptions::Limits& limits) {
  MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
  MSA_RETURN_IF_ERROR(CheckDisplayName(request.settings().display_name()));
  MSA_RETURN_IF_ERROR(CheckTokenBudget(request.settings().token_budget()));
  engine::BankSettings settings;
  settings.display_name = request.settings().display_name();
  settings.token_budget = request.settings().token_budget();
  MSA_ASSIGN_OR_RETURN(
      settings.default_limits,
      ToQueryLimits("settings.default_limits", request.settings().default_limits(), limits));
  MSA_ASSIGN_OR_RETURN(settings.router_key_scan,
                       ToRouterKeyScan(request.settings().router_key_scan()));
  return settings;
}

absl::StatusOr<engine::BankSettingsChange> ToBankSettingsChange(
    const v1::UpdateBankRequest& request, const ServerOptions::Limits& limits) {
  MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
  MSA_RETURN_IF_ERROR(CheckMask(request.update_mask(), {"display_name", "token_budget",
                                                        "default_limits", "router_key_scan"}));
  const v1::BankSettings& settings = request.settings();
  engine::BankSettingsChange change;
  if (Names(request.update_mask(), "display_name")) {
    MSA_RETURN_IF_ERROR(CheckDisplayName(settings.display_name()));
    change.display_name = settings.display_name();
  }
  if (Names(request.update_mask(), "token_budget")) {
    MSA_RETURN_IF_ERROR(CheckTokenBudget(settings.token_budget()));
    change.token_budget = settings.token_budget();
  }
  if (Names(request.update_mask(), "default_limits")) {
    MSA_ASSIGN_OR_RETURN(change.default_limits, ToQueryLimits("settings.default_limits",
                                                              settings.default_limits(), limits));
  }
  if (Names(request.update_mask(), "router_key_scan")) {
    MSA_ASSIGN_OR_RETURN(change.router_key_scan, ToRouterKeyScan(settings.router_key_scan()));
  }
  return change;
}

absl::StatusOr<engine::DocumentInput> ToDocumentInput(v1::IngestDocument&& document,
                                                      const ServerOptions::Limits& limits) {
  MSA_RETURN_IF_ERROR(CheckDocumentId("document.document_id", document.document_id()));
  MSA_RETURN_IF_ERROR(CheckText("document.text", document.text(), limits));
  engine::DocumentInput out;
  MSA_ASSIGN_OR_RETURN(out.metadata, ToMetadata("document.metadata", document.metadata()));
  out.id = std::move(*document.mutable_document_id());
  out.text = std::move(*document.mutable_text());
  return out;
}

absl::StatusOr<engine::DocumentUpdate> ToDocumentUpdate(const v1::UpdateDocumentRequest& request,
                                                        const ServerOptions::Limits& limits) {
  MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
  MSA_RETURN_IF_ERROR(CheckDocumentId("document_id", request.document_id()));
  MSA_RETURN_IF_ERROR(CheckMask(request.update_mask(), {"text", "metadata"}));
  engine::DocumentUpdate update;
  update.id = request.document_id();
  if (Names(request.update_mask(), "text")) {
    MSA_RETURN_IF_ERROR(CheckText("text", request.text(), limits));
    update.text = request.text();
  }
  if (Names(request.update_mask(), "metadata")) {
    MSA_ASSIGN_OR_RETURN(update.metadata, ToMetadata("metadata", request.metadata()));
  }
  return update;
}

absl::StatusOr<engine::IngestMode> ToIngestMode(v1::IngestMode mode) {
  switch (mode) {
    case v1::INGEST_MODE_UNSPECIFIED:
    case v1::INGEST_MODE_INSERT:
      return engine::IngestMode::kInsert;
    case v1::INGEST_MODE_UPSERT:
      return engine::IngestMode::kUpsert;
    case v1::INGEST_MODE_UPDATE_ONLY:
      return engine::IngestMode::kUpdateOnly;
    default:
      return InvalidField("start.mode", "INVALID_VALUE",
                          absl::StrCat("start.mode is ", static_cast<int>(mode),
                                       "; allowed are INSERT, UPSERT and UPDATE_ONLY"));
  }
}

absl::StatusOr<engine::AcknowledgeAt> ToAcknowledgeAt(const std::string& field,
                                                      v1::AcknowledgeAt level) {
  switch (level) {
    case v1::ACKNOWLEDGE_AT_ACCEPTED:
      return engine::AcknowledgeAt::kAccepted;
    case v1::ACKNOWLEDGE_AT_UNSPECIFIED:
    case v1::ACKNOWLEDGE_AT_ACTIVE:
      return engine::AcknowledgeAt::kActive;
    default:
      return InvalidField(field, "INVALID_VALUE",
                          absl::StrCat(field, " is ", static_cast<int>(level),
                                       "; allowed are ACCEPTED and ACTIVE"));
  }
}

absl::Status CheckDelete(const v1::DeleteDocumentsRequest& request) {
  MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
  const bool has_ids = !request.document_ids().empty();
  if (has_ids && !request.filter().empty()) {
    return InvalidField("filter", "INVALID_VALUE",
                        "document_ids and filter are both set; allowed is one of them");
  }
  if (!has_ids && request.filter().empty()) {
    return InvalidField("document_ids", "MISSING_FIELD",
                        "document_ids and filter are both empty; one of them must be set");
  }
  return CheckDocumentIds(request.document_ids());
}

absl::StatusOr<int64_t> ToPageSize(int32_t page_size) {
  MSA_RETURN_IF_ERROR(CheckRange("page_size", page_size, 0, kMaxPageSize));
  return page_size == 0 ? kDefaultPageSize : page_size;
}

}  // namespace msa::server
