#include "server/document_page.h"

#include <algorithm>
#include <optional>

#include "kernels/core/status_macros.h"
#include "server/memory_conversion.h"

namespace msa::server {
namespace {

constexpr int64_t kTextsAtATime = 8;

}  // namespace

absl::StatusOr<std::string> ReadPage(const engine::Bank& bank, const PageRequest& request,
                                     google::protobuf::RepeatedPtrField<v1::Document>* documents) {
  std::string after_id = request.after_id;
  int64_t text_bytes = 0;
  while (true) {
    const int64_t missing = request.size - documents->size();
    const int64_t wanted = request.with_text ? std::min(missing, kTextsAtATime) : missing;
    MSA_ASSIGN_OR_RETURN(const engine::DocumentPage page,
                         bank.List(after_id, wanted, request.with_text, request.filter));
    bool is_full = false;
    size_t taken = 0;
    for (; taken < page.documents.size() && !is_full; ++taken) {
      const engine::DocumentInfo& document = page.documents[taken];
      ToProto(document, documents->Add());
      after_id = document.id;
      text_bytes += static_cast<int64_t>(document.text.size());
      is_full = text_bytes >= kMaxPageTextBytes || documents->size() >= request.size;
    }
    const bool is_whole = taken == page.documents.size();
    if (is_whole && page.next_after_id.empty()) return std::string();
    if (is_whole) after_id = page.next_after_id;
    // A bank that has passed over many documents ends the page too, so that a call stays short.
    const bool is_tired = is_whole && static_cast<int64_t>(page.documents.size()) < wanted;
    if (is_full || is_tired) return after_id;
  }
}

absl::Status ListPage(const engine::Bank& bank, const v1::ListDocumentsRequest& request,
                      int64_t page_size, v1::ListDocumentsResponse* response) {
  PageRequest page{.after_id = {}, .size = page_size, .with_text = request.with_text()};
  MSA_ASSIGN_OR_RETURN(page.after_id, ParsePageToken(request));
  std::optional<engine::Filter> filter;
  if (!request.filter().empty()) {
    MSA_ASSIGN_OR_RETURN(filter, engine::Filter::Parse(request.filter()));
    page.filter = &*filter;
  }
  MSA_ASSIGN_OR_RETURN(const std::string next, ReadPage(bank, page, response->mutable_documents()));
  if (!next.empty()) response->set_next_page_token(MakePageToken(request, next));
  return absl::OkStatus();
}

}  // namespace msa::server
