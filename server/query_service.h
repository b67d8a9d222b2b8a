#pragma once

#include "msa/v1/query_service.grpc.pb.h"
#include "server/service_context.h"

namespace msa::server {

// msa.v1.QueryService. Raw: see message_codec.h.
class QueryService
    : public v1::QueryService::WithRawCallbackMethod_Generate<
          v1::QueryService::WithRawCallbackMethod_Retrieve<
              v1::QueryService::WithRawCallbackMethod_CountTokens<v1::QueryService::Service>>> {
 public:
  explicit QueryService(const ServiceContext& service) : service_(service) {}

  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  grpc::ServerWriteReactor<Bytes>* Generate(Context* context, const Bytes* in) override;
  grpc::ServerUnaryReactor* Retrieve(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* CountTokens(Context* context, const Bytes* in, Bytes* out) override;

 private:
  const ServiceContext& service_;
};

}  // namespace msa::server
