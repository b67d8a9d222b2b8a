#include "server/request_validation.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/status_macros.h"

namespace msa::server {
namespace {

absl::Status Missing(const std::string& field) {
  return InvalidField(field, "MISSING_FIELD", absl::StrCat(field, " must not be empty"));
}

absl::Status CheckLength(const std::string& field, const std::string& reason,
                         const std::string& text, int64_t limit) {
  const auto actual = static_cast<int64_t>(text.size());
  if (actual <= limit) return absl::OkStatus();
  return InvalidField(
      field, reason, absl::StrCat(field, " has ", actual, " bytes; allowed are ", limit),
      {{"limit", absl::StrCat(limit)}, {"actual", absl::StrCat(actual)}, {"unit", "bytes"}});
}

absl::Status CheckRange(const std::string& field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return InvalidField(field, "INVALID_VALUE",
                      absl::StrCat(field, " is ", value, "; allowed are ", least, " to ", most),
                      {{"least", absl::StrCat(least)},
                       {"limit", absl::StrCat(most)},
                       {"actual", absl::StrCat(value)}});
}

absl::Status CheckQuestion(const std::string& question, const ServerOptions::Limits& limits) {
  if (question.empty()) return Missing("question");
  return CheckLength("question", "QUESTION_TOO_LARGE", question, limits.max_question_bytes);
}

absl::StatusOr<engine::SamplingParams> ToSampling(const v1::Sampling& sampling) {
  engine::SamplingParams params;
  if (sampling.has_temperature()) {
    const float value = sampling.temperature();
    if (!(value >= 0 && value <= 10)) {  // NaN too
      return InvalidField("sampling.temperature", "INVALID_VALUE",
                          absl::StrCat("sampling.temperature is ", value, "; allowed are 0 to 10"),
                          {{"least", "0"}, {"limit", "10"}, {"actual", absl::StrCat(value)}});
    }
    params.temperature = value;
  }
  if (sampling.has_top_p()) {
    const float value = sampling.top_p();
    if (!(value > 0 && value <= 1)) {
      return InvalidField(
          "sampling.top_p", "INVALID_VALUE",
          absl::StrCat("sampling.top_p is ", value, "; allowed are values above 0, at most 1"),
          {{"limit", "1"}, {"actual", absl::StrCat(value)}});
    }
    params.top_p = value;
  }
  if (sampling.has_seed()) params.seed = sampling.seed();
  return params;
}

// A bound of a request: the default, cut to what this server allows, unless the request says
// another.
template <class Value>
absl::Status SetBound(const std::string& name, bool is_set, int64_t asked, int64_t most,
                      Value* bound) {
  if (!is_set) {
    if (*bound > most) *bound = static_cast<Value>(most);
    return absl::OkStatus();
  }
  MSA_RETURN_IF_ERROR(CheckRange(absl::StrCat("limits.", name), asked, 1, most));
  *bound = static_cast<Value>(asked);
  return absl::OkStatus();
}

absl::Status SetBounds(const v1::GenerationLimits& asked, const ServerOptions::Limits& most,
                       engine::GenerationParams* params) {
  MSA_RETURN_IF_ERROR(SetBound("max_rounds", asked.has_max_rounds(), asked.max_rounds(),
                               most.max_rounds, &params->max_rounds));
  MSA_RETURN_IF_ERROR(SetBound("max_citations", asked.has_max_citations(), asked.max_citations(),
                               most.max_citations, &params->max_citations));
  MSA_RETURN_IF_ERROR(SetBound("max_retrieval_tokens", asked.has_max_retrieval_tokens(),
                               asked.max_retrieval_tokens(), most.max_retrieval_tokens,
                               &params->max_retrieval_tokens));
  MSA_RETURN_IF_ERROR(SetBound("max_answer_tokens", asked.has_max_answer_tokens(),
                               asked.max_answer_tokens(), most.max_answer_tokens,
                               &params->max_answer_tokens));
  return SetBound("max_expansion_bytes", asked.has_max_expansion_bytes(),
                  asked.max_expansion_bytes(), most.max_expansion_bytes,
                  &params->max_expansion_bytes);
}

absl::Status CheckStopStrings(const google::protobuf::RepeatedPtrField<std::string>& stop) {
  if (stop.size() > kMaxStopStrings)
    return CheckRange("stop.size", stop.size(), 0, kMaxStopStrings);
  for (int i = 0; i < stop.size(); ++i) {
    const std::string field = absl::StrCat("stop[", i, "]");
    if (stop[i].empty()) return Missing(field);
    MSA_RETURN_IF_ERROR(CheckLength(field, "INVALID_VALUE", stop[i], kMaxStopStringBytes));
  }
  return absl::OkStatus();
}

absl::Status SetMetadataValue(const std::string& key, const v1::MetadataValue& value,
                              engine::MetadataValue* out) {
  const std::string field = absl::StrCat("document.metadata.", key);
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

absl::Status CheckDocumentIds(const google::protobuf::RepeatedPtrField<std::string>& ids) {
  MSA_RETURN_IF_ERROR(CheckRange("document_ids.size", ids.size(), 0, kMaxDocumentIds));
  for (int i = 0; i < ids.size(); ++i) {
    MSA_RETURN_IF_ERROR(CheckDocumentId(absl::StrCat("document_ids[", i, "]"), ids[i]));
  }
  return absl::OkStatus();
}

template <class Request>
absl::StatusOr<engine::DocumentScope> ToScope(const Request& request) {
  MSA_RETURN_IF_ERROR(CheckDocumentIds(request.document_ids()));
  return engine::DocumentScope{
      .filter = request.filter(),
      .document_ids = {request.document_ids().begin(), request.document_ids().end()},
      .min_revision = request.min_revision()};
}

}  // namespace

absl::Status InvalidField(const std::string& field, const std::string& reason,
                          const std::string& message, std::map<std::string, std::string> metadata) {
  return kernels::WithDetail(
      absl::InvalidArgumentError(message),
      {.reason = reason, .field = field, .metadata = std::move(metadata), .retry_after = {}});
}

absl::Status CheckBank(const std::string& bank) {
  return bank.empty() ? Missing("bank") : absl::OkStatus();
}

absl::StatusOr<engine::GenerateRequest> ToGenerateRequest(const v1::GenerateRequest& request,
                                                          const ServerOptions::Limits& limits) {
  MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
  MSA_RETURN_IF_ERROR(CheckQuestion(request.question(), limits));
  engine::GenerateRequest out;
  out.bank = request.bank();
  out.question = request.question();
  MSA_ASSIGN_OR_RETURN(out.scope, ToScope(request));
  MSA_ASSIGN_OR_RETURN(out.params.sampling, ToSampling(request.sampling()));
  MSA_RETURN_IF_ERROR(SetBounds(request.limits(), limits, &out.params));
  MSA_RETURN_IF_ERROR(CheckStopStrings(request.stop()));
  out.params.stop.assign(request.stop().begin(), request.stop().end());
  if (request.has_constrain_citations())
    out.params.constrain_citations = request.constrain_citations();
  out.explain_layers = request.explain_layers();
  return out;
}

absl::StatusOr<engine::RetrieveRequest> ToRetrieveRequest(const v1::RetrieveRequest& request,
                                                          const ServerOptions::Limits& limits) {
  MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
  MSA_RETURN_IF_ERROR(CheckQuestion(request.question(), limits));
  MSA_RETURN_IF_ERROR(CheckRange("limit", request.limit(), 0, kMaxHits));
  engine::RetrieveRequest out;
  out.bank = request.bank();
  out.question = request.question();
  MSA_ASSIGN_OR_RETURN(out.scope, ToScope(request));
  out.limit = request.limit();
  out.with_text = request.with_text();
  out.explain_layers = request.explain_layers();
  return out;
}

absl::Status CheckCountTokens(const v1::CountTokensRequest& request,
                              const ServerOptions::Limits& limits) {
  return CheckLength("text", "DOCUMENT_TOO_LARGE", request.text(), limits.max_document_bytes);
}

absl::StatusOr<engine::BankSettings> ToBankSettings(const v1::CreateBankRequest& request) {
  MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
  engine::BankSettings settings;
  settings.display_name = request.settings().display_name();
  settings.token_budget = request.settings().token_budget();
  MSA_RETURN_IF_ERROR(CheckLength("settings.display_name", "INVALID_VALUE", settings.display_name,
                                  kMaxDisplayNameBytes));
  MSA_RETURN_IF_ERROR(
      CheckRange("settings.token_budget", settings.token_budget, 0, int64_t{1} << 50));
  return settings;
}

absl::StatusOr<engine::DocumentInput> ToDocumentInput(v1::IngestDocument&& document,
                                                      const ServerOptions::Limits& limits) {
  MSA_RETURN_IF_ERROR(CheckDocumentId("document.document_id", document.document_id()));
  if (document.text().empty()) return Missing("document.text");
  MSA_RETURN_IF_ERROR(CheckLength("document.text", "DOCUMENT_TOO_LARGE", document.text(),
                                  limits.max_document_bytes));
  engine::DocumentInput out;
  for (const auto& [key, value] : document.metadata()) {
    MSA_RETURN_IF_ERROR(SetMetadataValue(key, value, &out.metadata[key]));
  }
  out.id = std::move(*document.mutable_document_id());
  out.text = std::move(*document.mutable_text());
  return out;
}

absl::StatusOr<engine::IngestMode> ToIngestMode(v1::IngestMode mode) {
  switch (mode) {
    case v1::INGEST_MODE_UNSPECIFIED:
    case v1::INGEST_MODE_INSERT:
      return engine::IngestMode::kInsert;
    case v1::INGEST_MODE_UPSERT:
      return engine::IngestMode::kUpsert;
    default:
      return InvalidField("start.mode", "INVALID_VALUE",
                          absl::StrCat("start.mode is ", static_cast<int>(mode),
                                       "; allowed are INSERT and UPSERT"));
  }
}

absl::StatusOr<engine::AcknowledgeAt> ToAcknowledgeAt(v1::AcknowledgeAt level) {
  switch (level) {
    case v1::ACKNOWLEDGE_AT_ACCEPTED:
      return engine::AcknowledgeAt::kAccepted;
    case v1::ACKNOWLEDGE_AT_UNSPECIFIED:
    case v1::ACKNOWLEDGE_AT_ACTIVE:
      return engine::AcknowledgeAt::kActive;
    default:
      return InvalidField("start.acknowledge_at", "INVALID_VALUE",
                          absl::StrCat("start.acknowledge_at is ", static_cast<int>(level),
                                       "; allowed are ACCEPTED and ACTIVE"));
  }
}

absl::Status CheckDocumentId(const std::string& field, const std::string& id) {
  if (id.empty()) return Missing(field);
  return CheckLength(field, "INVALID_DOCUMENT_ID", id, kMaxDocumentIdBytes);
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
