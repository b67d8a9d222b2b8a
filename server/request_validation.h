#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "msa/v1/query_service.pb.h"
#include "server/options.h"

// The API's own rules: what a request must hold and how large its values may be. Every error is
// INVALID_ARGUMENT and names the field, the limit and the actual value. What needs the model or a
// bank is checked by the engine. For banks and documents see memory_validation.h.
namespace msa::server {

inline constexpr int32_t kMaxDocumentIds = 1000;  // of one request
inline constexpr int32_t kMaxStopStrings = 16;
inline constexpr int32_t kMaxStopStringBytes = 256;
inline constexpr int32_t kMaxHits = 10'000;
inline constexpr int32_t kMaxDocumentIdBytes = 512;

absl::Status InvalidField(const std::string& field, const std::string& reason,
                          const std::string& message,
                          std::map<std::string, std::string> metadata = {});
absl::Status CheckNotEmpty(const std::string& field, const std::string& value);
absl::Status CheckLength(const std::string& field, const std::string& reason,
                         const std::string& text, int64_t limit);
absl::Status CheckRange(const std::string& field, int64_t value, int64_t least, int64_t most);

absl::Status CheckBank(const std::string& bank);  // not empty
absl::Status CheckDocumentId(const std::string& field, const std::string& id);
absl::Status CheckDocumentIds(const google::protobuf::RepeatedPtrField<std::string>& ids);

// ---- queries; the results lack only the deadline
// `defaults`: the bank's.
absl::StatusOr<engine::GenerateRequest> ToGenerateRequest(const v1::GenerateRequest& request,
                                                          const ServerOptions::Limits& limits,
                                                          const engine::QueryLimits& defaults);
absl::StatusOr<engine::RetrieveRequest> ToRetrieveRequest(const v1::RetrieveRequest& request,
                                                          const ServerOptions::Limits& limits);
absl::Status CheckCountTokens(const v1::CountTokensRequest& request,
                              const ServerOptions::Limits& limits);

}  // namespace msa::server
