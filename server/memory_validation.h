#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/bank.h"
#include "msa/v1/memory_service.pb.h"
#include "server/options.h"

// What requests about banks and documents must hold, by the same rules as request_validation.h.
namespace msa::server {

inline constexpr int32_t kDefaultPageSize = 100;
inline constexpr int32_t kMaxPageSize = 1000;
inline constexpr int32_t kMaxDisplayNameBytes = 256;

// ---- banks
absl::StatusOr<engine::BankSettings> ToBankSettings(const v1::CreateBankRequest& request,
                                                    const ServerOptions::Limits& limits);
absl::StatusOr<engine::BankSettingsChange> ToBankSettingsChange(
    const v1::UpdateBankRequest& request, const ServerOptions::Limits& limits);

// ---- documents
absl::StatusOr<engine::DocumentInput> ToDocumentInput(v1::IngestDocument&& document,
                                                      const ServerOptions::Limits& limits);
absl::StatusOr<engine::DocumentUpdate> ToDocumentUpdate(const v1::UpdateDocumentRequest& request,
                                                        const ServerOptions::Limits& limits);
absl::StatusOr<engine::IngestMode> ToIngestMode(v1::IngestMode mode);
absl::StatusOr<engine::AcknowledgeAt> ToAcknowledgeAt(const std::string& field,
                                                      v1::AcknowledgeAt level);
// Either ids or a filter.
absl::Status CheckDelete(const v1::DeleteDocumentsRequest& request);
absl::StatusOr<int64_t> ToPageSize(int32_t page_size);

}  // namespace msa::server
