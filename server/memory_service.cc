#include "server/memory_service.h"

#include <utility>
#include <vector>

#include "kernels/core/check.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/status_macros.h"
#include "server/document_page.h"
#include "server/export_call.h"
#include "server/memory_conversion.h"
#include "server/memory_validation.h"
#include "server/request_validation.h"
#include "server/unary_call.h"

namespace msa::server {
namespace {

// What comes after a change, where the bank's thread calls back: not there, because a task may wait
// for the disk, and because the bank must not lose its last owner on its own thread.
void RunOffBank(const ServiceContext& service, absl::AnyInvocable<void()> task) {
  const bool posted = service.streams->Post(std::move(task));
  MSA_CHECK(posted, "the stream runner's queue has no end");
}

// The engine names parts of the document that it was handed; UpdateDocument has them as fields of
// its own.
absl::Status WithFieldsOfUpdate(const absl::Status& status) {
  constexpr std::string_view kPrefix = "documents.";
  kernels::ErrorDetail detail = kernels::DetailOf(status);
  if (!detail.field.starts_with(kPrefix)) return status;
  detail.field.erase(0, kPrefix.size());
  if (detail.field == "id") detail.field = "document_id";
  return kernels::WithDetail(status, detail);
}

}  // namespace

grpc::ServerUnaryReactor* MemoryService::CreateBank(Context* context, const Bytes* in, Bytes* out) {
  return RunUnary<v1::CreateBankRequest, v1::CreateBankResponse>(
      service_, RpcMethod::kCreateBank, context, in, out,
      [this](const v1::CreateBankRequest& request,
             v1::CreateBankResponse* response) -> absl::Status {
        MSA_RETURN_IF_ERROR(service_.state->CheckReady());
        MSA_ASSIGN_OR_RETURN(const engine::BankSettings settings,
                             ToBankSettings(request, service_.limits));
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

grpc::ServerUnaryReactor* MemoryService::UpdateBank(Context* context, const Bytes* in, Bytes* out) {
  return RunDeferredUnary<v1::UpdateBankRequest, v1::UpdateBankResponse>(
      service_, RpcMethod::kUpdateBank, context, in, out,
      [this](const v1::UpdateBankRequest& request, auto reply) -> absl::Status {
        MSA_RETURN_IF_ERROR(service_.state->CheckReady());
        MSA_ASSIGN_OR_RETURN(engine::BankSettingsChange change,
                             ToBankSettingsChange(request, service_.limits));
        MSA_ASSIGN_OR_RETURN(std::shared_ptr<engine::Bank> bank,
                             service_.engine->banks().Get(request.bank()));
        engine::Bank* const target = bank.get();
        target->ChangeSettings(std::move(change), [this, reply, bank = std::move(bank)](
                                                      const absl::Status& status) mutable {
          RunOffBank(service_, [reply, status, bank = std::move(bank)] {
            v1::UpdateBankResponse response;
            ToProto(bank->Info(), response.mutable_bank());
            reply(status, response);
          });
        });
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

grpc::ServerUnaryReactor* MemoryService::UpdateDocument(Context* context, const Bytes* in,
                                                        Bytes* out) {
  return RunDeferredUnary<v1::UpdateDocumentRequest, v1::UpdateDocumentResponse>(
      service_, RpcMethod::kUpdateDocument, context, in, out,
      [this](const v1::UpdateDocumentRequest& request, auto reply) -> absl::Status {
        MSA_RETURN_IF_ERROR(service_.state->CheckReady());
        MSA_ASSIGN_OR_RETURN(engine::DocumentUpdate update,
                             ToDocumentUpdate(request, service_.limits));
        MSA_ASSIGN_OR_RETURN(const engine::AcknowledgeAt level,
                             ToAcknowledgeAt("acknowledge_at", request.acknowledge_at()));
        MSA_ASSIGN_OR_RETURN(std::shared_ptr<engine::Bank> bank,
                             service_.engine->banks().Get(request.bank()));
        engine::Bank* const target = bank.get();
        target->Update(std::move(update), level,
                       [this, reply, bank = std::move(bank),
                        id = request.document_id()](engine::IngestResult result) mutable {
                         RunOffBank(service_, [reply, id, status = std::move(result.status),
                                               bank = std::move(bank)] {
                           v1::UpdateDocumentResponse response;
                           if (!status.ok()) return reply(WithFieldsOfUpdate(status), response);
                           const absl::StatusOr<engine::DocumentInfo> info =
                               bank->Get(id, /*with_text=*/false);
                           if (info.ok()) ToProto(*info, response.mutable_document());
                           reply(info.status(), response);
                         });
                       });
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

grpc::ServerWriteReactor<grpc::ByteBuffer>* MemoryService::ExportDocuments(Context* context,
                                                                           const Bytes* in) {
  return ExportCall::Start(service_, context, in);
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
