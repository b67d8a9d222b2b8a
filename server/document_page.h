#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/bank.h"
#include "msa/v1/memory_service.pb.h"

namespace msa::server {

inline constexpr int64_t kMaxPageTextBytes = int64_t{2} << 20;

// Which documents of a bank a page holds.
struct PageRequest {
  std::string after_id;  // exclusive; empty: from the start
  int64_t size = 0;      // documents, at most
  bool with_text = false;
  const engine::Filter* filter = nullptr;  // null: all
};

// Reads one page and gives the id to go on after, empty at the end of the bank. With texts it reads
// a few documents at a time and ends the page early once it holds kMaxPageTextBytes of them, so that
// neither the server's memory nor the message grows with the page size; a page that does not end the
// bank holds one document at least, unless many were passed over that do not match.
absl::StatusOr<std::string> ReadPage(const engine::Bank& bank, const PageRequest& request,
                                     google::protobuf::RepeatedPtrField<v1::Document>* documents);

// One page of ListDocuments, with the token of the next.
absl::Status ListPage(const engine::Bank& bank, const v1::ListDocumentsRequest& request,
                      int64_t page_size, v1::ListDocumentsResponse* response);

}  // namespace msa::server
