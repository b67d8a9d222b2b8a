#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "msa/v1/memory_service.pb.h"
#include "msa/v1/query_service.pb.h"
#include "server/options.h"

// The API's own rules: what a request must hold and how large its values may be. Every error is
// INVALID_ARGUMENT and names the field, the limit and the actual value. What needs the model or a
// bank is checked by the engine.
namespace msa::server {

inline constexpr int32_t kDefaultPageSize = 100;
inline constexpr int32_t kMaxPageSize = 1000;
inline constexpr int32_t kMaxDocumentIds = 1000;  // of one request
inline constexpr int32_t kMaxStopStrings = 16;
inline constexpr int32_t kMaxStopStringBytes = 256;
inline constexpr int32_t kMaxHits = 10'000;
inline constexpr int32_t kMaxDisplayNameBytes = 256;
inline constexpr int32_t kMaxDocumentIdBytes = 512;

absl::Status InvalidField(const std::string& field, const std::string& reason,
                          const std::string& message,
                          std::map<std::string, std::string> metadata = {});

// ---- queries; the results lack only the deadline
absl::StatusOr<engine::GenerateRequest> ToGenerateRequest(const v1::GenerateRequest& request,
                                                          const ServerOptions::Limits& limits);
absl::StatusOr<engine::RetrieveRequest> ToRetrieveRequest(const v1::RetrieveRequest& request,
                                                          const ServerOptions::Limits& limits);
absl::Status CheckCountTokens(const v1::CountTokensRequest& request,
                              const ServerOptions::Limits& limits);

// ---- memory
absl::Status CheckBank(const std::string& bank);  // not empty
absl::StatusOr<engine::BankSettings> ToBankSettings(const v1::CreateBankRequest& request);
absl::StatusOr<engine::DocumentInput> ToDocumentInput(v1::IngestDocument&& document,
                                                      const ServerOptions::Limits& limits);
absl::StatusOr<engine::IngestMode> ToIngestMode(v1::IngestMode mode);
absl::StatusOr<engine::AcknowledgeAt> ToAcknowledgeAt(v1::AcknowledgeAt level);
absl::Status CheckDocumentId(const std::string& field, const std::string& id);
// Either ids or a filter.
absl::Status CheckDelete(const v1::DeleteDocumentsRequest& request);
absl::StatusOr<int64_t> ToPageSize(int32_t page_size);

}  // namespace msa::server
