#pragma once

#include "msa/v1/admin_service.grpc.pb.h"
#include "server/service_context.h"

namespace msa::server {

// msa.v1.AdminService. GetServerInfo answers in every state of the server.
class AdminService
    : public v1::AdminService::WithRawCallbackMethod_GetServerInfo<
          v1::AdminService::WithRawCallbackMethod_CompactBank<v1::AdminService::Service>> {
 public:
  explicit AdminService(const ServiceContext& service) : service_(service) {}

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* in,
                                          grpc::ByteBuffer* out) override;
  grpc::ServerUnaryReactor* CompactBank(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* in, grpc::ByteBuffer* out) override;

 private:
  const ServiceContext& service_;
};

}  // namespace msa::server
