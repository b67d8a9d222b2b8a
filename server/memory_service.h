#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "msa/v1/memory_service.grpc.pb.h"
#include "server/ingest_stream.h"
#include "server/service_context.h"

namespace msa::server {

// msa.v1.MemoryService. Raw: see message_codec.h.
class MemoryService
    : public v1::MemoryService::WithRawCallbackMethod_CreateBank<
          v1::MemoryService::WithRawCallbackMethod_GetBank<
              v1::MemoryService::WithRawCallbackMethod_ListBanks<
                  v1::MemoryService::WithRawCallbackMethod_UpdateBank<
                      v1::MemoryService::WithRawCallbackMethod_DeleteBank<
                          v1::MemoryService::WithRawCallbackMethod_IngestDocuments<
                              v1::MemoryService::WithRawCallbackMethod_GetDocument<
                                  v1::MemoryService::WithRawCallbackMethod_UpdateDocument<
                                      v1::MemoryService::WithRawCallbackMethod_ListDocuments<
                                          v1::MemoryService::WithRawCallbackMethod_ExportDocuments<
                                              v1::MemoryService::
                                                  WithRawCallbackMethod_DeleteDocuments<
                                                      v1::MemoryService::
                                                          WithRawCallbackMethod_GetBankStats<
                                                              v1::MemoryService::
                                                                  Service>>>>>>>>>>>> {
 public:
  explicit MemoryService(const ServiceContext& service) : service_(service) {}

  // Ends every open ingest stream with `status`, after the results of the documents in flight.
  void EndStreams(const absl::Status& status);

  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  grpc::ServerUnaryReactor* CreateBank(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* GetBank(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* ListBanks(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* UpdateBank(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* DeleteBank(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerBidiReactor<Bytes, Bytes>* IngestDocuments(Context* context) override;
  grpc::ServerUnaryReactor* GetDocument(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* UpdateDocument(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* ListDocuments(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerWriteReactor<Bytes>* ExportDocuments(Context* context, const Bytes* in) override;
  grpc::ServerUnaryReactor* DeleteDocuments(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* GetBankStats(Context* context, const Bytes* in, Bytes* out) override;

 private:
  const ServiceContext& service_;
  std::mutex mutex_;
  uint64_t next_stream_id_ = 0;
  std::map<uint64_t, std::weak_ptr<IngestStream>> streams_;
};

}  // namespace msa::server
