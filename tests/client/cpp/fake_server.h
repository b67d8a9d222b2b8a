#pragma once

#include <functional>
#include <memory>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "msa/v1/admin_service.grpc.pb.h"
#include "msa/v1/memory_service.grpc.pb.h"
#include "msa/v1/query_service.grpc.pb.h"

namespace msa::client {

inline google::rpc::Status RpcStatus(grpc::StatusCode code, const std::string& message) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  return status;
}

inline google::rpc::Status RpcStatusWithRetryInfo(grpc::StatusCode code, int delay_ms) {
  google::rpc::Status status = RpcStatus(code, "busy");
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_nanos(delay_ms * 1'000'000);
  status.add_details()->PackFrom(info);
  return status;
}

inline grpc::Status GrpcStatus(const google::rpc::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), status.message(),
                      status.SerializeAsString());
}

// A server whose answers a test writes down. Listens on a free loopback port while it lives. The
// handlers are called on the server's threads.
class FakeServer {
 public:
  using IngestServerStream =
      grpc::ServerReaderWriter<v1::IngestDocumentsResponse, v1::IngestDocumentsRequest>;

  FakeServer() : memory_(this), query_(this), admin_(this) {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&memory_);
    builder.RegisterService(&query_);
    builder.RegisterService(&admin_);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

  const std::string& address() const { return address_; }

  std::function<grpc::Status(const v1::CreateBankRequest&, v1::CreateBankResponse*)> on_create_bank;
  std::function<grpc::Status(const v1::ListDocumentsRequest&, v1::ListDocumentsResponse*)>
      on_list_documents;
  std::function<grpc::Status(const v1::DeleteDocumentsRequest&, v1::DeleteDocumentsResponse*)>
      on_delete_documents;
  std::function<grpc::Status(IngestServerStream*)> on_ingest;
  std::function<grpc::Status(const v1::GenerateRequest&, grpc::ServerWriter<v1::GenerateResponse>*)>
      on_generate;
  std::function<grpc::Status(grpc::ServerContext*, v1::GetServerInfoResponse*)> on_server_info;
  std::function<grpc::Status(const v1::UpdateBankRequest&, v1::UpdateBankResponse*)> on_update_bank;
  std::function<grpc::Status(const v1::ExportDocumentsRequest&,
                             grpc::ServerWriter<v1::ExportDocumentsResponse>*)>
      on_export;
  std::function<grpc::Status(grpc::ServerContext*, grpc::ServerWriter<v1::VerifyBankResponse>*)>
      on_verify;
  std::function<grpc::Status(const v1::BackupBankRequest&,
                             grpc::ServerWriter<v1::BackupBankResponse>*)>
      on_backup;

 private:
  struct Memory : v1::MemoryService::Service {
    explicit Memory(FakeServer* s) : fake(s) {}
    grpc::Status CreateBank(grpc::ServerContext*, const v1::CreateBankRequest* request,
                            v1::CreateBankResponse* response) override {
      return fake->on_create_bank(*request, response);
    }
    grpc::Status ListDocuments(grpc::ServerContext*, const v1::ListDocumentsRequest* request,
                               v1::ListDocumentsResponse* response) override {
      return fake->on_list_documents(*request, response);
    }
    grpc::Status DeleteDocuments(grpc::ServerContext*, const v1::DeleteDocumentsRequest* request,
                                 v1::DeleteDocumentsResponse* response) override {
      return fake->on_delete_documents(*request, response);
    }
    grpc::Status IngestDocuments(grpc::ServerContext*, IngestServerStream* stream) override {
      return fake->on_ingest(stream);
    }
    grpc::Status UpdateBank(grpc::ServerContext*, const v1::UpdateBankRequest* request,
                            v1::UpdateBankResponse* response) override {
      return fake->on_update_bank(*request, response);
    }
    grpc::Status ExportDocuments(grpc::ServerContext*, const v1::ExportDocumentsRequest* request,
                                 grpc::ServerWriter<v1::ExportDocumentsResponse>* writer) override {
      return fake->on_export(*request, writer);
    }
    FakeServer* const fake;
  };
  struct Query : v1::QueryService::Service {
    explicit Query(FakeServer* s) : fake(s) {}
    grpc::Status Generate(grpc::ServerContext*, const v1::GenerateRequest* request,
                          grpc::ServerWriter<v1::GenerateResponse>* writer) override {
      return fake->on_generate(*request, writer);
    }
    FakeServer* const fake;
  };
  struct Admin : v1::AdminService::Service {
    explicit Admin(FakeServer* s) : fake(s) {}
    grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest*,
                               v1::GetServerInfoResponse* response) override {
      return fake->on_server_info(context, response);
    }
    grpc::Status VerifyBank(grpc::ServerContext* context, const v1::VerifyBankRequest*,
                            grpc::ServerWriter<v1::VerifyBankResponse>* writer) override {
      return fake->on_verify(context, writer);
    }
    grpc::Status BackupBank(grpc::ServerContext*, const v1::BackupBankRequest* request,
                            grpc::ServerWriter<v1::BackupBankResponse>* writer) override {
      return fake->on_backup(*request, writer);
    }
    FakeServer* const fake;
  };

  Memory memory_;
  Query query_;
  Admin admin_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace msa::client
