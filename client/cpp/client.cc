#include "client/cpp/client.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/connection.h"
#include "client/cpp/error_details.h"
#include "client/cpp/unary_call.h"
#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/generic/generic_stub.h"

namespace msa::client {
namespace {

constexpr size_t kMaxDeleteIds = 1000;  // of one request
constexpr int kPageSize = 500;

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Create(ClientOptions options) {
  if (options.server.empty()) {
    return absl::InvalidArgumentError(
        "the server's address is empty; allowed: host:port or unix:PATH");
  }
  return std::unique_ptr<Client>(new Client(std::move(options)));
}

Client::Client(ClientOptions options)
    : connection_(std::make_unique<Connection>(std::move(options))) {}

Client::~Client() = default;

void Client::Cancel() { connection_->calls().CancelAll(); }

absl::StatusOr<v1::Bank> Client::CreateBank(const std::string& bank,
                                            const v1::BankSettings& settings) {
  v1::CreateBankRequest request;
  request.set_bank(bank);
  *request.mutable_settings() = settings;
  const absl::StatusOr<v1::CreateBankResponse> response = CallUnary(
      connection_.get(), connection_->memory(), &v1::MemoryService::Stub::CreateBank, request,
      /*repeatable=*/false);
  if (!response.ok()) return response.status();
  return response->bank();
}

absl::StatusOr<v1::Bank> Client::GetBank(const std::string& bank) {
  v1::GetBankRequest request;
  request.set_bank(bank);
  const absl::StatusOr<v1::GetBankResponse> response = CallUnary(
      connection_.get(), connection_->memory(), &v1::MemoryService::Stub::GetBank, request,
      /*repeatable=*/true);
  if (!response.ok()) return response.status();
  return response->bank();
}

absl::StatusOr<std::vector<v1::Bank>> Client::ListBanks() {
  const absl::StatusOr<v1::ListBanksResponse> response =
      CallUnary(connection_.get(), connection_->memory(), &v1::MemoryService::Stub::ListBanks,
                v1::ListBanksRequest(), /*repeatable=*/true);
  if (!response.ok()) return response.status();
  return std::vector<v1::Bank>(response->banks().begin(), response->banks().end());
}

absl::StatusOr<v1::Bank> Client::UpdateBank(const std::string& bank,
                                            const v1::BankSettings& settings,
                                            const std::vector<std::string>& paths) {
  v1::UpdateBankRequest request;
  request.set_bank(bank);
  *request.mutable_settings() = settings;
  for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
  const absl::StatusOr<v1::UpdateBankResponse> response = CallUnary(
      connection_.get(), connection_->memory(), &v1::MemoryService::Stub::UpdateBank, request,
      /*repeatable=*/true);
  if (!response.ok()) return response.status();
  return response->bank();
}

absl::Status Client::DeleteBank(const std::string& bank, bool force) {
  v1::DeleteBankRequest request;
  request.set_bank(bank);
  request.set_force(force);
  return CallUnary(connection_.get(), connection_->memory(), &v1::MemoryService::Stub::DeleteBank,
                   request, /*repeatable=*/false)
      .status();
}

absl::StatusOr<v1::BankStats> Client::GetBankStats(const std::string& bank) {
  v1::GetBankStatsRequest request;
  request.set_bank(bank);
  const absl::StatusOr<v1::GetBankStatsResponse> response =
      CallUnary(connection_.get(), connection_->memory(), &v1::MemoryService::Stub::GetBankStats,
                request, /*repeatable=*/true);
  if (!response.ok()) return response.status();
  return response->stats();
}

absl::StatusOr<v1::Document> Client::GetDocument(const std::string& bank,
                                                 const std::string& document_id, bool with_text) {
  v1::GetDocumentRequest request;
  request.set_bank(bank);
  request.set_document_id(document_id);
  request.set_with_text(with_text);
  const absl::StatusOr<v1::GetDocumentResponse> response = CallUnary(
      connection_.get(), connection_->memory(), &v1::MemoryService::Stub::GetDocument, request,
      /*repeatable=*/true);
  if (!response.ok()) return response.status();
  return response->document();
}

absl::Status Client::ListDocuments(const std::string& bank, const std::string& filter,
                                   bool with_text,
                                   const std::function<bool(const v1::Document&)>& on_document) {
  v1::ListDocumentsRequest request;
  request.set_bank(bank);
  request.set_page_size(kPageSize);
  request.set_filter(filter);
  request.set_with_text(with_text);
  do {
    const absl::StatusOr<v1::ListDocumentsResponse> response =
        CallUnary(connection_.get(), connection_->memory(), &v1::MemoryService::Stub::ListDocuments,
                  request, /*repeatable=*/true);
    if (!response.ok()) return response.status();
    for (const v1::Document& document : response->documents()) {
      if (!on_document(document)) return absl::OkStatus();
    }
    request.set_page_token(response->next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::StatusOr<v1::Document> Client::UpdateDocument(const v1::UpdateDocumentRequest& update) {
  const absl::StatusOr<v1::UpdateDocumentResponse> response = CallUnary(
      connection_.get(), connection_->memory(), &v1::MemoryService::Stub::UpdateDocument, update,
      /*repeatable=*/true);
  if (!response.ok()) return response.status();
  return response->document();
}

absl::StatusOr<v1::DeleteDocumentsResponse> Client::DeleteDocuments(
    const std::string& bank, const std::vector<std::string>& document_ids) {
  v1::DeleteDocumentsResponse total;
  size_t at = 0;
  do {  // also once without ids: the server says what it thinks of that
    v1::DeleteDocumentsRequest request;
    request.set_bank(bank);
    const size_t end = std::min(document_ids.size(), at + kMaxDeleteIds);
    for (; at < end; ++at) request.add_document_ids(document_ids[at]);
    const absl::StatusOr<v1::DeleteDocumentsResponse> response =
        CallUnary(connection_.get(), connection_->memory(),
                  &v1::MemoryService::Stub::DeleteDocuments, request, /*repeatable=*/false);
    if (!response.ok()) return response.status();
    total.set_deleted(total.deleted() + response->deleted());
    total.set_revision(response->revision());
    total.mutable_unknown_document_ids()->MergeFrom(response->unknown_document_ids());
  } while (at < document_ids.size());
  return total;
}

absl::StatusOr<v1::DeleteDocumentsResponse> Client::DeleteMatching(const std::string& bank,
                                                                   const std::string& filter) {
  v1::DeleteDocumentsRequest request;
  request.set_bank(bank);
  request.set_filter(filter);
  return CallUnary(connection_.get(), connection_->memory(),
                   &v1::MemoryService::Stub::DeleteDocuments, request, /*repeatable=*/false);
}

absl::StatusOr<v1::GenerateFinished> Client::Generate(
    const v1::GenerateRequest& request,
    const std::function<void(const v1::GenerateResponse&)>& on_event) {
  v1::GenerateFinished finished;
  bool has_finished = false;
  bool has_event = false;
  for (int attempts = 1;; ++attempts) {
    ActiveCall call(&connection_->calls(), connection_->options().timeout);
    const auto reader = connection_->query().Generate(call.context(), request);
    v1::GenerateResponse event;
    while (reader->Read(&event)) {
      has_event = true;
      if (event.has_finished()) {
        has_finished = true;
        finished = event.finished();
      }
      on_event(event);
    }
    const absl::Status status = ToAbslStatus(reader->Finish());
    if (status.ok() && !has_finished)
      return absl::InternalError("the server ended the answer without `finished`");
    if (status.ok()) return finished;
    const std::optional<absl::Duration> wait =
        has_event
            ? std::nullopt
            : WaitBeforeRetry(connection_->options().retry, status, attempts, /*repeatable=*/true);
    if (!wait.has_value() || !connection_->calls().Wait(*wait)) return status;
  }
}

absl::StatusOr<v1::RetrieveResponse> Client::Retrieve(const v1::RetrieveRequest& request) {
  return CallUnary(connection_.get(), connection_->query(), &v1::QueryService::Stub::Retrieve,
                   request,
                   /*repeatable=*/true);
}

absl::StatusOr<v1::CountTokensResponse> Client::CountTokens(const std::string& text) {
  v1::CountTokensRequest request;
  request.set_text(text);
  return CallUnary(connection_.get(), connection_->query(), &v1::QueryService::Stub::CountTokens,
                   request, /*repeatable=*/true);
}

absl::StatusOr<v1::GetServerInfoResponse> Client::GetServerInfo() {
  return CallUnary(connection_.get(), connection_->admin(), &v1::AdminService::Stub::GetServerInfo,
                   v1::GetServerInfoRequest(), /*repeatable=*/true);
}

absl::StatusOr<bool> Client::CheckHealth(const std::string& service) {
  // HealthCheckRequest {string service = 1} and HealthCheckResponse {enum status = 1} look like
  // these wrappers on the wire, and gRPC's packages bring no code for them.
  using google::protobuf::Int32Value;
  using google::protobuf::StringValue;
  constexpr int kServing = 1;
  grpc::TemplatedGenericStub<StringValue, Int32Value> stub(connection_->channel());
  StringValue request;
  request.set_value(service);
  Int32Value response;
  ActiveCall call(&connection_->calls(), connection_->options().timeout);
  std::promise<grpc::Status> done;
  stub.UnaryCall(call.context(), "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request,
                 &response, [&done](grpc::Status status) { done.set_value(std::move(status)); });
  const absl::Status status = ToAbslStatus(done.get_future().get());
  if (!status.ok()) return status;
  return response.value() == kServing;
}

}  // namespace msa::client
