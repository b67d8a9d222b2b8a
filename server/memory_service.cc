#include "server/memory_service.h"

#include <utility>
#include <vector>

#include "kernels/core/status_macros.h"
#include "server/document_page.h"
#include "server/memory_conversion.h"
#include "server/request_validation.h"
#include "server/unary_call.h"

namespace msa::server {

grpc::ServerUnaryReactor* MemoryService::CreateBank(Context* context, const Bytes* in, Bytes* out) {
  return RunUnary<v1::CreateBankRequest, v1::CreateBankResponse>(
      service_, RpcMethod::kCreateBank, context, in, out,
      [this](const v1::CreateBankRequest& request,
             v1::CreateBankResponse* response) -> absl::Status {
        MSA_RETURN_IF_ERROR(service_.state->CheckReady());
        MSA_ASSIGN_OR_RETURN(const engine::BankSettings settings, ToBankSettings(request));
        MSA_ASSIGN_OR_RETURN(const auto bank,
                             service_.engine->banks().Create(request.bank(), settings));
        ToProto(bank->Info(), response->mutable_bank());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* MemoryService::GetBank(Context* context, const Bytes* in, Bytes* out) {
  return RunUnary<v1::GetBankRequest, v1::GetBankResponse>(
      service_, RpcMethod::kGetBank, context, in, out,
      [this](const v1::GetBankRequest& request, v1::GetBankResponse* response) -> absl::Status {
        MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
        MSA_ASSIGN_OR_RETURN(const auto bank, service_.engine->banks().Get(request.bank()));
        ToProto(bank->Info(), response->mutable_bank());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* MemoryService::ListBanks(Context* context, const Bytes* in, Bytes* out) {
  return RunUnary<v1::ListBanksRequest, v1::ListBanksResponse>(
      service_, RpcMethod::kListBanks, context, in, out,
      [this](const v1::ListBanksRequest&, v1::ListBanksResponse* response) -> absl::Status {
        for (const engine::BankInfo& info : service_.engine->banks().List())
          ToProto(info, response->add_banks());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* MemoryService::DeleteBank(Context* context, const Bytes* in, Bytes* out) {
  return RunUnary<v1::DeleteBankRequest, v1::DeleteBankResponse>(
      service_, RpcMethod::kDeleteBank, context, in, out,
      [this](const v1::DeleteBankRequest& request, v1::DeleteBankResponse*) -> absl::Status {
        MSA_RETURN_IF_ERROR(service_.state->CheckReady());
        MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
        return service_.engine->banks().Delete(request.bank(), request.force());
      });
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* MemoryService::IngestDocuments(
    Context* context) {
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = next_stream_id_++;
    streams_[id];  // before the stream can be over
  }
  const std::shared_ptr<IngestStream> stream = IngestStream::Open(service_, context, [this, id] {
    const std::lock_guard lock(mutex_);
    streams_.erase(id);
  });
  const std::lock_guard lock(mutex_);
  const auto entry = streams_.find(id);
  if (entry != streams_.end()) entry->second = stream;
  return stream.get();
}

void MemoryService::EndStreams(const absl::Status& status) {
  std::vector<std::shared_ptr<IngestStream>> open;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, weak] : streams_) {
      if (std::shared_ptr<IngestStream> stream = weak.lock()) open.push_back(std::move(stream));
    }
  }
  for (const auto& stream : open) stream->EndWith(status);
}

grpc::ServerUnaryReactor* MemoryService::GetDocument(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return RunUnary<v1::GetDocumentRequest, v1::GetDocumentResponse>(
      service_, RpcMethod::kGetDocument, context, in, out,
      [this](const v1::GetDocumentRequest& request,
             v1::GetDocumentResponse* response) -> absl::Status {
        MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
        MSA_RETURN_IF_ERROR(CheckDocumentId("document_id", request.document_id()));
        MSA_ASSIGN_OR_RETURN(const auto bank, service_.engine->banks().Get(request.bank()));
        MSA_ASSIGN_OR_RETURN(const auto document,
                             bank->Get(request.document_id(), request.with_text()));
        ToProto(document, response->mutable_document());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* MemoryService::ListDocuments(Context* context, const Bytes* in,
                                                       Bytes* out) {
  return RunUnary<v1::ListDocumentsRequest, v1::ListDocumentsResponse>(
      service_, RpcMethod::kListDocuments, context, in, out,
      [this](const v1::ListDocumentsRequest& request,
             v1::ListDocumentsResponse* response) -> absl::Status {
        MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
        MSA_ASSIGN_OR_RETURN(const int64_t page_size, ToPageSize(request.page_size()));
        MSA_ASSIGN_OR_RETURN(const auto bank, service_.engine->banks().Get(request.bank()));
        return ListPage(*bank, request, page_size, response);
      });
}

grpc::ServerUnaryReactor* MemoryService::DeleteDocuments(Context* context, const Bytes* in,
                                                         Bytes* out) {
  return RunDeferredUnary<v1::DeleteDocumentsRequest, v1::DeleteDocumentsResponse>(
      service_, RpcMethod::kDeleteDocuments, context, in, out,
      [this](const v1::DeleteDocumentsRequest& request, auto reply) -> absl::Status {
        MSA_RETURN_IF_ERROR(service_.state->CheckReady());
        MSA_RETURN_IF_ERROR(CheckDelete(request));
        MSA_ASSIGN_OR_RETURN(const auto bank, service_.engine->banks().Get(request.bank()));
        const auto done = [reply](engine::Bank::DeleteResult result) {
          v1::DeleteDocumentsResponse response;
          response.set_deleted(result.num_deleted);
          for (std::string& id : result.unknown_ids)
            response.add_unknown_document_ids(std::move(id));
          response.set_revision(result.revision);
          reply(result.status, response);
        };
        if (request.filter().empty()) {
          bank->Delete({request.document_ids().begin(), request.document_ids().end()}, done);
          return absl::OkStatus();
        }
        MSA_ASSIGN_OR_RETURN(engine::Filter filter, engine::Filter::Parse(request.filter()));
        bank->DeleteMatching(std::move(filter), done);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* MemoryService::GetBankStats(Context* context, const Bytes* in,
                                                      Bytes* out) {
  return RunUnary<v1::GetBankStatsRequest, v1::GetBankStatsResponse>(
      service_, RpcMethod::kGetBankStats, context, in, out,
      [this](const v1::GetBankStatsRequest& request,
             v1::GetBankStatsResponse* response) -> absl::Status {
        MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
        MSA_ASSIGN_OR_RETURN(const auto bank, service_.engine->banks().Get(request.bank()));
        ToProto(bank->Stats(), response->mutable_stats());
        return absl::OkStatus();
      });
}

}  // namespace msa::server
