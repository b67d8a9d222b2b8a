#pragma once

#include "msa/v1/admin_service.grpc.pb.h"
#include "server/service_context.h"

namespace msa::server {

// msa.v1.AdminService. GetServerInfo answers in every state of the server. Raw: see message_codec.h.
class AdminService
    : public v1::AdminService::WithRawCallbackMethod_GetServerInfo<
          v1::AdminService::WithRawCallbackMethod_CompactBank<
              v1::AdminService::WithRawCallbackMethod_VerifyBank<
                  v1::AdminService::WithRawCallbackMethod_BackupBank<
                      v1::AdminService::WithRawCallbackMethod_RestoreBank<
                          v1::AdminService::WithRawCallbackMethod_ListBackups<
                              v1::AdminService::WithRawCallbackMethod_DeleteBackup<
                                  v1::AdminService::WithRawCallbackMethod_ReencodeBank<
                                      v1::AdminService::Service>>>>>>>> {
 public:
  explicit AdminService(const ServiceContext& service) : service_(service) {}

  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  grpc::ServerUnaryReactor* GetServerInfo(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerWriteReactor<Bytes>* CompactBank(Context* context, const Bytes* in) override;
  grpc::ServerWriteReactor<Bytes>* VerifyBank(Context* context, const Bytes* in) override;
  grpc::ServerWriteReactor<Bytes>* BackupBank(Context* context, const Bytes* in) override;
  grpc::ServerWriteReactor<Bytes>* RestoreBank(Context* context, const Bytes* in) override;
  grpc::ServerUnaryReactor* ListBackups(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* DeleteBackup(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerWriteReactor<Bytes>* ReencodeBank(Context* context, const Bytes* in) override;

 private:
  const ServiceContext& service_;
};

}  // namespace msa::server
