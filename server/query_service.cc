#include "server/query_service.h"

#include "kernels/core/status_macros.h"
#include "server/generate_call.h"
#include "server/request_validation.h"
#include "server/retrieve_call.h"
#include "server/unary_call.h"

namespace msa::server {

grpc::ServerWriteReactor<grpc::ByteBuffer>* QueryService::Generate(Context* context,
                                                                   const Bytes* in) {
  return GenerateCall::Start(service_, context, in).get();  // owns itself
}

grpc::ServerUnaryReactor* QueryService::Retrieve(Context* context, const Bytes* in, Bytes* out) {
  return RetrieveCall::Start(service_, context, in, out).get();  // owns itself
}

grpc::ServerUnaryReactor* QueryService::CountTokens(Context* context, const Bytes* in, Bytes* out) {
  return RunUnary<v1::CountTokensRequest, v1::CountTokensResponse>(
      service_, RpcMethod::kCountTokens, context, in, out,
      [this](const v1::CountTokensRequest& request,
             v1::CountTokensResponse* response) -> absl::Status {
        MSA_RETURN_IF_ERROR(CheckCountTokens(request, service_.limits));
        MSA_ASSIGN_OR_RETURN(const engine::TokenCount count,
                             service_.engine->CountTokens(request.text()));
        response->set_tokens(count.num_tokens);
        response->set_chunks(count.num_chunks);
        response->set_router_key_bytes(count.router_key_bytes);
        response->set_content_bytes(count.content_bytes);
        return absl::OkStatus();
      });
}

}  // namespace msa::server
