#include "server/request_validation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/status_macros.h"
#include "server/generation_limits.h"

namespace msa::server {
namespace {

absl::Status CheckQuestion(const std::string& question, const ServerOptions::Limits& limits) {
  MSA_RETURN_IF_ERROR(CheckNotEmpty("question", question));
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

absl::Status CheckStopStrings(const google::protobuf::RepeatedPtrField<std::string>& stop) {
  if (stop.size() > kMaxStopStrings)
    return CheckRange("stop.size", stop.size(), 0, kMaxStopStrings);
  for (int i = 0; i < stop.size(); ++i) {
    const std::string field = absl::StrCat("stop[", i, "]");
    MSA_RETURN_IF_ERROR(CheckNotEmpty(field, stop[i]));
    MSA_RETURN_IF_ERROR(CheckLength(field, "INVALID_VALUE", stop[i], kMaxStopStringBytes));
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

absl::Status CheckNotEmpty(const std::string& field, const std::string& value) {
  if (!value.empty()) return absl::OkStatus();
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

absl::Status CheckBank(const std::string& bank) { return CheckNotEmpty("bank", bank); }

absl::Status CheckDocumentId(const std::string& field, const std::string& id) {
  MSA_RETURN_IF_ERROR(CheckNotEmpty(field, id));
  return CheckLength(field, "INVALID_DOCUMENT_ID", id, kMaxDocumentIdBytes);
}

absl::Status CheckDocumentIds(const google::protobuf::RepeatedPtrField<std::string>& ids) {
  MSA_RETURN_IF_ERROR(CheckRange("document_ids.size", ids.size(), 0, kMaxDocumentIds));
  for (int i = 0; i < ids.size(); ++i) {
    MSA_RETURN_IF_ERROR(CheckDocumentId(absl::StrCat("document_ids[", i, "]"), ids[i]));
  }
  return absl::OkStatus();
}

absl::StatusOr<engine::GenerateRequest> ToGenerateRequest(const v1::GenerateRequest& request,
                                                          const ServerOptions::Limits& limits,
                                                          const engine::QueryLimits& defaults) {
  MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
  MSA_RETURN_IF_ERROR(CheckQuestion(request.question(), limits));
  engine::GenerateRequest out;
  out.bank = request.bank();
  out.question = request.question();
  MSA_ASSIGN_OR_RETURN(out.scope, ToScope(request));
  MSA_ASSIGN_OR_RETURN(out.params.sampling, ToSampling(request.sampling()));
  MSA_ASSIGN_OR_RETURN(const engine::QueryLimits asked,
                       ToQueryLimits("limits", request.limits(), limits));
  SetBounds(asked, defaults, limits, &out.params);
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

}  // namespace msa::server
