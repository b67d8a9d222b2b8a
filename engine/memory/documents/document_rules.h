#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "engine/memory/documents/bank_settings.h"
#include "engine/memory/documents/document.h"

// What a bank accepts. Every refusal is INVALID_ARGUMENT with the field, the limit and what came
// instead.
namespace msa::engine {

inline constexpr int64_t kMaxBankNameBytes = 64;
inline constexpr int64_t kMaxDocumentIdBytes = 512;

// 1 to 64 of [a-z0-9_-], starting with a letter or digit.
absl::Status CheckBankName(std::string_view name);

absl::Status CheckBankSettings(const BankSettings& settings);

// 1 to 512 bytes of UTF-8 without control characters.
absl::Status CheckDocumentId(std::string_view id);

// Id, text (UTF-8, at most `max_text_bytes`) and metadata (UTF-8 keys that are not empty, UTF-8
// strings, finite numbers, keys and values together at most `max_metadata_bytes`; a number counts
// as 8 bytes, a bool as 1).
absl::Status CheckDocument(const DocumentInput& document, int64_t max_text_bytes,
                           int64_t max_metadata_bytes);

// DOCUMENT_NOT_FOUND.
absl::Status NoDocument(std::string_view id);

// DOCUMENT_TOO_LARGE.
absl::Status CheckTokens(int64_t num_tokens, int64_t max_tokens);

}  // namespace msa::engine
