#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/server/server_fixture.h"

namespace msa::server {

// One ingest stream at a time, by hand.
class IngestStreamTest : public ServerFixture {
 protected:
  using Stream = grpc::ClientReaderWriter<v1::IngestDocumentsRequest, v1::IngestDocumentsResponse>;

  void Open(v1::IngestMode mode = v1::INGEST_MODE_UNSPECIFIED, const std::string& bank_name = "b",
            const std::string& session_id = "") {
    context_ = std::make_unique<grpc::ClientContext>();
    stream_ = memory().IngestDocuments(context_.get());
    v1::IngestDocumentsRequest request;
    request.mutable_start()->set_bank(bank_name);
    request.mutable_start()->set_mode(mode);
    request.mutable_start()->set_session_id(session_id);
    stream_->Write(request);
  }

  static v1::IngestDocumentsRequest Document(uint64_t sequence, const std::string& id,
                                             const std::string& text) {
    v1::IngestDocumentsRequest request;
    request.mutable_document()->set_sequence(sequence);
    request.mutable_document()->set_document_id(id);
    request.mutable_document()->set_text(text);
    return request;
  }
  bool Send(uint64_t sequence, const std::string& id, const std::string& text = "text") {
    return stream_->Write(Document(sequence, id, text));
  }

  v1::IngestDocumentsResponse Read() {
    v1::IngestDocumentsResponse response;
    EXPECT_TRUE(stream_->Read(&response));
    return response;
  }
  v1::IngestResult ReadResult() {
    const v1::IngestDocumentsResponse response = Read();
    EXPECT_TRUE(response.has_result()) << response.ShortDebugString();
    return response.result();
  }
  // Reads what is left and gives the end of the call.
  CallError End() {
    v1::IngestDocumentsResponse response;
    rest_.clear();
    while (stream_->Read(&response)) rest_.push_back(response);
    return ErrorOf(stream_->Finish());
  }

  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<Stream> stream_;
  std::vector<v1::IngestDocumentsResponse> rest_;
};

}  // namespace msa::server
