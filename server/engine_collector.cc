#include "server/engine_collector.h"

#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/metric_family.h"

namespace msa::server {
namespace {

void AddShards(const std::vector<int64_t>& from, std::vector<int64_t>* to) {
  for (size_t i = 0; i < std::min(from.size(), to->size()); ++i) (*to)[i] += from[i];
}

prometheus::MetricFamily PerShard(Metric metric, const std::vector<int64_t>& values) {
  prometheus::MetricFamily family = MakeFamily(metric);
  for (size_t i = 0; i < values.size(); ++i) {
    AddValue(&family, {{"shard", absl::StrCat(i)}}, static_cast<double>(values[i]));
  }
  return family;
}

prometheus::MetricFamily ModelFamily(const engine::EngineInfo& info) {
  prometheus::MetricFamily family = MakeFamily(Metric::kModelInfo);
  AddValue(&family,
           {{"model", info.model.name},
            {"fingerprint", info.model_fingerprint},
            {"compute_dtype", info.compute_dtype},
            {"bank_dtype", info.bank_dtype},
            {"device", info.device},
            {"instruction_set", info.instruction_set}},
           1);
  return family;
}

}  // namespace

BankTotals SumBanks(engine::Engine& engine) {
  BankTotals totals;
  const auto num_shards = static_cast<size_t>(std::max(engine.info().num_shards, 0));
  totals.sum.shard_documents.resize(num_shards);
  totals.sum.shard_chunks.resize(num_shards);
  totals.num_banks = static_cast<int64_t>(engine.banks().List().size());
  for (const auto& bank : engine.banks().OpenBanks()) {
    const engine::BankStats stats = bank->Stats();
    totals.sum.num_documents += stats.num_documents;
    totals.sum.num_accepted += stats.num_accepted;
    totals.sum.num_tombstones += stats.num_tombstones;
    totals.sum.num_tokens += stats.num_tokens;
    totals.sum.num_chunks += stats.num_chunks;
    totals.sum.content_bytes += stats.content_bytes;
    totals.sum.text_bytes += stats.text_bytes;
    totals.sum.index_bytes += stats.index_bytes;
    AddShards(stats.shard_documents, &totals.sum.shard_documents);
    AddShards(stats.shard_chunks, &totals.sum.shard_chunks);
  }
  return totals;
}

std::vector<prometheus::MetricFamily> EngineCollector::Collect() const {
  std::vector<prometheus::MetricFamily> families;
  const auto add = [&](Metric metric, int64_t value) {
    families.push_back(MakeFamily(metric, static_cast<double>(value)));
  };
  families.push_back(ModelFamily(engine_->info()));
  prometheus::MetricFamily state = MakeFamily(Metric::kServerState);
  for (size_t i = 0; i < kServingStateNames.size(); ++i) {
    AddValue(&state, {{"state", std::string(kServingStateNames[i])}},
             static_cast<size_t>(state_->get()) == i ? 1 : 0);
  }
  families.push_back(std::move(state));
  add(Metric::kRequestsRunning, engine_->num_running());
  add(Metric::kRequestsWaiting, engine_->num_waiting());

  const BankTotals totals = SumBanks(*engine_);
  add(Metric::kBanks, totals.num_banks);
  add(Metric::kBankDocuments, totals.sum.num_documents);
  add(Metric::kBankTokens, totals.sum.num_tokens);
  add(Metric::kBankTombstones, totals.sum.num_tombstones);
  add(Metric::kIngestBacklog, totals.sum.num_accepted);
  families.push_back(PerShard(Metric::kShardDocuments, totals.sum.shard_documents));
  families.push_back(PerShard(Metric::kShardChunks, totals.sum.shard_chunks));

  const engine::MemoryUsage usage = engine_->memory_usage();
  prometheus::MetricFamily memory = MakeFamily(Metric::kMemory);
  const auto add_memory = [&](const std::string& tier, const std::string& kind, int64_t bytes) {
    AddValue(&memory, {{"tier", tier}, {"kind", kind}}, static_cast<double>(bytes));
  };
  add_memory("dram", "weights", usage.weights);
  add_memory("dram", "router_keys", usage.router_keys);
  add_memory("dram", "index", totals.sum.index_bytes);
  add_memory("dram", "kv_pages", usage.kv_pages);
  add_memory("dram", "activations", usage.activations);
  add_memory("disk", "content", totals.sum.content_bytes);
  add_memory("disk", "text", totals.sum.text_bytes);
  families.push_back(std::move(memory));

  prometheus::MetricFamily limit = MakeFamily(Metric::kMemoryLimit);
  AddValue(&limit, {{"tier", "dram"}, {"kind", "kv_pages"}},
           static_cast<double>(usage.kv_pages_limit));
  AddValue(&limit, {{"tier", "dram"}, {"kind", "router_keys"}},
           static_cast<double>(engine_->info().options.router_key_memory_bytes));
  AddValue(&limit, {{"tier", "dram"}, {"kind", "activations"}},
           3 * static_cast<double>(engine_->info().options.activation_bytes));
  families.push_back(std::move(limit));
  return families;
}

}  // namespace msa::server
