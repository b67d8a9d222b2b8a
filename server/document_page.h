#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/memory/bank.h"
#include "msa/v1/memory_service.pb.h"

namespace msa::server {

// Fills one page of ListDocuments. With texts it reads a few documents at a time and ends the page
// early once it holds kMaxPageTextBytes of them, so that neither the server's memory nor the
// message grows with the page size; a page holds one document at least.
absl::Status ListPage(const engine::Bank& bank, const v1::ListDocumentsRequest& request,
                      int64_t page_size, v1::ListDocumentsResponse* response);

inline constexpr int64_t kMaxPageTextBytes = int64_t{2} << 20;

}  // namespace msa::server
