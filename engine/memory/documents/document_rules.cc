#include "engine/memory/documents/document_rules.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/text/utf8.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

absl::Status Invalid(const std::string& message, const std::string& reason,
                     const std::string& field,
                     const std::map<std::string, std::string>& metadata = {}) {
  return kernels::Refusal(absl::StatusCode::kInvalidArgument, message, reason, field, metadata);
}

absl::Status TooLarge(const std::string& what, const std::string& reason, const std::string& field,
                      int64_t actual, int64_t limit, const std::string& unit) {
  return Invalid(
      absl::StrCat(what, " has ", actual, " ", unit, ", at most ", limit, " are allowed"), reason,
      field, {{"limit", absl::StrCat(limit)}, {"actual", absl::StrCat(actual)}});
}

absl::Status CheckUtf8(std::string_view text, const std::string& field) {
  const size_t at = FindInvalidUtf8(text);
  if (at == std::string_view::npos) return absl::OkStatus();
  return Invalid(absl::StrCat(field, " is not valid UTF-8 at byte ", at), "INVALID_UTF8", field,
                 {{"offset", absl::StrCat(at)}});
}

// C0 and C1 controls and DEL.
bool HasControlCharacter(std::string_view valid_utf8) {
  for (size_t i = 0; i < valid_utf8.size(); ++i) {
    const auto byte = static_cast<unsigned char>(valid_utf8[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    if (byte == 0xc2 && static_cast<unsigned char>(valid_utf8[i + 1]) < 0xa0) return true;
  }
  return false;
}

absl::Status CheckMetadata(const Metadata& metadata, int64_t max_bytes) {
  const std::string field = "documents.metadata";
  size_t bytes = 0;
  for (const auto& [key, value] : metadata) {
    if (key.empty()) {
      return Invalid("a metadata key is empty", "INVALID_METADATA", field);
    }
    MSA_RETURN_IF_ERROR(CheckUtf8(key, field));
    bytes += key.size();
    if (const auto* text = std::get_if<std::string>(&value)) {
      MSA_RETURN_IF_ERROR(CheckUtf8(*text, field));
      bytes += text->size();
    } else if (const auto* number = std::get_if<double>(&value)) {
      if (!std::isfinite(*number)) {
        return Invalid(absl::StrCat("metadata \"", key, "\" is not a finite number"),
                       "INVALID_METADATA", field);
      }
      bytes += sizeof(double);
    } else {
      bytes += 1;
    }
  }
  if (static_cast<int64_t>(bytes) <= max_bytes) return absl::OkStatus();
  return TooLarge("the metadata", "METADATA_TOO_LARGE", field, static_cast<int64_t>(bytes),
                  max_bytes, "bytes");
}

}  // namespace

absl::Status CheckBankName(std::string_view name) {
  const auto is_first = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  bool ok = !name.empty() && name.size() <= kMaxBankNameBytes && is_first(name[0]);
  for (const char c : name) ok = ok && (is_first(c) || c == '_' || c == '-');
  if (ok) return absl::OkStatus();
  return Invalid(absl::StrCat("a bank's name is 1 to ", kMaxBankNameBytes,
                              " of a-z, 0-9, _ and -, starting with a letter or digit"),
                 "INVALID_BANK_NAME", "bank");
}

absl::Status CheckBankSettings(const BankSettings& settings) {
  if (settings.token_budget >= 0) return absl::OkStatus();
  return kernels::Refusal(
      absl::StatusCode::kInvalidArgument,
      absl::StrCat("a token budget is at least 0, this one is ", settings.token_budget),
      "INVALID_TOKEN_BUDGET", "token_budget", {{"limit", "0"}});
}

absl::Status CheckDocumentId(std::string_view id) {
  const std::string field = "documents.id";
  if (id.empty() || id.size() > kMaxDocumentIdBytes) {
    return Invalid(
        absl::StrCat("a document's id has 1 to ", kMaxDocumentIdBytes, " bytes, this one ",
                     id.size()),
        "INVALID_DOCUMENT_ID", field,
        {{"limit", absl::StrCat(kMaxDocumentIdBytes)}, {"actual", absl::StrCat(id.size())}});
  }
  MSA_RETURN_IF_ERROR(CheckUtf8(id, field));
  if (!HasControlCharacter(id)) return absl::OkStatus();
  return Invalid("a document's id must not contain control characters", "INVALID_DOCUMENT_ID",
                 field);
}

absl::Status CheckDocument(const DocumentInput& document, int64_t max_text_bytes,
                           int64_t max_metadata_bytes) {
  MSA_RETURN_IF_ERROR(CheckDocumentId(document.id));
  const std::string field = "documents.text";
  const auto bytes = static_cast<int64_t>(document.text.size());
  if (bytes > max_text_bytes) {
    return TooLarge("the text", "DOCUMENT_TOO_LARGE", field, bytes, max_text_bytes, "bytes");
  }
  MSA_RETURN_IF_ERROR(CheckUtf8(document.text, field));
  return CheckMetadata(document.metadata, max_metadata_bytes);
}

absl::Status NoDocument(std::string_view id) {
  return kernels::Refusal(absl::StatusCode::kNotFound,
                          absl::StrCat("document \"", kernels::ToAbsl(id), "\" is not there"),
                          "DOCUMENT_NOT_FOUND", "document_id");
}

absl::Status CheckTokens(int64_t num_tokens, int64_t max_tokens) {
  if (num_tokens <= max_tokens) return absl::OkStatus();
  return TooLarge("the document", "DOCUMENT_TOO_LARGE", "documents.text", num_tokens, max_tokens,
                  "tokens");
}

}  // namespace msa::engine
