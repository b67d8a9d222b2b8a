#include "server/document_page.h"

#include <algorithm>

#include "kernels/core/status_macros.h"
#include "server/memory_conversion.h"

namespace msa::server {
namespace {

constexpr int64_t kTextsAtATime = 8;

}  // namespace

absl::Status ListPage(const engine::Bank& bank, const v1::ListDocumentsRequest& request,
                      int64_t page_size, v1::ListDocumentsResponse* response) {
  MSA_ASSIGN_OR_RETURN(std::string after_id, ParsePageToken(request.bank(), request.page_token()));
  int64_t text_bytes = 0;
  while (true) {
    const int64_t missing = page_size - response->documents_size();
    const int64_t wanted = request.with_text() ? std::min(missing, kTextsAtATime) : missing;
    // One more than wanted shows whether there is a next page.
    MSA_ASSIGN_OR_RETURN(const auto documents,
                         bank.List(after_id, wanted + 1, request.with_text()));
    const bool has_more = static_cast<int64_t>(documents.size()) > wanted;
    const size_t count = has_more ? static_cast<size_t>(wanted) : documents.size();
    bool is_full = false;
    size_t taken = 0;
    for (; taken < count && !is_full; ++taken) {
      ToProto(documents[taken], response->add_documents());
      after_id = documents[taken].id;
      text_bytes += static_cast<int64_t>(documents[taken].text.size());
      is_full = text_bytes >= kMaxPageTextBytes || response->documents_size() >= page_size;
    }
    if (!has_more && taken == count) return absl::OkStatus();
    if (is_full) {
      response->set_next_page_token(MakePageToken(request.bank(), after_id));
      return absl::OkStatus();
    }
  }
}

}  // namespace msa::server
