#include "server/server_info.h"

#include <string>

#include "engine/memory/bank_store.h"
#include "server/engine_collector.h"
#include "server/memory_conversion.h"
#include "server/memory_validation.h"
#include "server/process_collector.h"
#include "server/request_validation.h"
#include "server/version.h"

namespace msa::server {
namespace {

v1::ServerState ToProto(ServingState state) {
  switch (state) {
    case ServingState::kReady:
      return v1::SERVER_STATE_READY;
    case ServingState::kDraining:
      return v1::SERVER_STATE_DRAINING;
    case ServingState::kUnhealthy:
      return v1::SERVER_STATE_UNHEALTHY;
  }
  return v1::SERVER_STATE_UNSPECIFIED;
}

void FillModel(const engine::EngineInfo& info, v1::ModelInfo* out) {
  const engine::ModelConfig& model = info.model;
  out->set_name(model.name);
  out->set_fingerprint(info.model_fingerprint);
  out->set_hidden_size(model.hidden_size);
  out->set_layers(model.num_layers);
  out->set_query_heads(model.num_query_heads);
  out->set_kv_heads(model.num_kv_heads);
  out->set_head_dim(model.head_dim);
  out->set_ffn_size(model.ffn_size);
  out->set_vocab_size(model.vocab_size);
  out->set_max_positions(model.max_positions);
  for (const int64_t layer : model.msa_layers) out->add_msa_layers(static_cast<int32_t>(layer));
  out->set_tokens_per_chunk(model.tokens_per_chunk);
  out->set_doc_top_k(model.doc_top_k);
}

void FillLimits(const engine::EngineInfo& info, const ServerOptions::Limits& limits,
                v1::ServerLimits* out) {
  out->set_max_document_bytes(limits.max_document_bytes);
  out->set_max_document_tokens(info.max_document_tokens);
  out->set_max_metadata_bytes(engine::BankStoreOptions{}.max_metadata_bytes);
  out->set_max_question_bytes(limits.max_question_bytes);
  out->set_max_question_tokens(info.max_question_tokens);
  out->set_max_rounds(static_cast<int32_t>(limits.max_rounds));
  out->set_max_citations(static_cast<int32_t>(limits.max_citations));
  out->set_max_retrieval_tokens(static_cast<int32_t>(limits.max_retrieval_tokens));
  out->set_max_answer_tokens(static_cast<int32_t>(limits.max_answer_tokens));
  out->set_max_expansion_bytes(limits.max_expansion_bytes);
  out->set_max_in_flight_documents(limits.max_in_flight_documents);
  out->set_max_in_flight_bytes(limits.max_in_flight_bytes);
  out->set_max_running(info.options.max_running);
  out->set_max_queued_requests(info.options.max_queued_requests);
  out->set_max_page_size(kMaxPageSize);
  out->set_max_document_ids(kMaxDocumentIds);
  out->set_max_filter_bytes(engine::kMaxFilterBytes);
}

void FillMemory(const engine::MemoryUsage& usage, v1::ServerMemory* out) {
  out->set_weights_bytes(usage.weights);
  out->set_router_key_bytes(usage.router_keys);
  out->set_kv_page_bytes(usage.kv_pages);
  out->set_kv_page_limit_bytes(usage.kv_pages_limit);
  out->set_activation_bytes(usage.activations);
  out->set_resident_bytes(ResidentBytes());
}

}  // namespace

v1::GetServerInfoResponse DescribeServer(const ServiceContext& service) {
  const engine::EngineInfo& info = service.engine->info();
  v1::GetServerInfoResponse out;
  out.set_version(std::string(Version()));
  out.set_state(ToProto(service.state->get()));
  server::ToProto(service.state->uptime(), out.mutable_uptime());
  FillModel(info, out.mutable_model());
  FillLimits(info, service.limits, out.mutable_limits());
  const BankTotals totals = SumBanks(*service.engine);
  for (int i = 0; i < info.num_shards; ++i) {
    v1::ShardInfo* shard = out.add_shards();
    shard->set_shard(i);
    shard->set_device(info.device);
    shard->set_documents(totals.sum.shard_documents[static_cast<size_t>(i)]);
    shard->set_chunks(totals.sum.shard_chunks[static_cast<size_t>(i)]);
  }
  out.set_instruction_set(info.instruction_set);
  out.set_compute_dtype(info.compute_dtype);
  out.set_bank_dtype(info.bank_dtype);
  out.set_threads(info.num_threads);
  FillMemory(service.engine->memory_usage(), out.mutable_memory());
  return out;
}

}  // namespace msa::server
