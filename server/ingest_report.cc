#include "server/ingest_report.h"

#include "server/memory_conversion.h"
#include "server/rpc_method.h"
#include "server/status_conversion.h"

namespace msa::server {

v1::IngestDocumentsResponse IngestReport::Add(const engine::IngestResult& result,
                                              uint64_t sequence) {
  summary_.set_documents(summary_.documents() + 1);
  v1::IngestDocumentsResponse response;
  v1::IngestResult* out = response.mutable_result();
  out->set_sequence(sequence);
  out->set_document_id(result.id);
  if (!result.status.ok()) {
    summary_.set_failed(summary_.failed() + 1);
    out->set_state(v1::DOCUMENT_STATE_FAILED);
    *out->mutable_error() = ToRpcStatus(result.status, NameOf(RpcMethod::kIngestDocuments));
    return response;
  }
  if (result.deduplicated) {
    summary_.set_deduplicated(summary_.deduplicated() + 1);
  } else {
    summary_.set_stored(summary_.stored() + 1);
    summary_.set_tokens(summary_.tokens() + result.num_tokens);
  }
  out->set_number(result.number);
  out->set_state(ToProto(result.state));
  out->set_tokens(result.num_tokens);
  out->set_chunks(result.num_chunks);
  out->set_revision(result.revision);
  out->set_deduplicated(result.deduplicated);
  return response;
}

v1::IngestDocumentsResponse IngestReport::Summary(uint64_t revision) const {
  v1::IngestDocumentsResponse response;
  *response.mutable_summary() = summary_;
  ToProto(absl::Now() - start_time_, response.mutable_summary()->mutable_elapsed());
  response.mutable_summary()->set_revision(revision);
  return response;
}

}  // namespace msa::server
