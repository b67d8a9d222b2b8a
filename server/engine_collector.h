#pragma once

#include <cstdint>
#include <vector>

#include "engine/engine.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"
#include "server/server_state.h"

namespace msa::server {

// All banks together. Per bank would give as many series as users make banks.
struct BankTotals {
  int64_t num_banks = 0;
  engine::BankStats sum;  // shard_documents and shard_chunks have one entry per shard
};
BankTotals SumBanks(engine::Engine& engine);

// What the engine holds at the moment of a scrape. `engine` and `state` must outlive it.
// Thread-safe.
class EngineCollector : public prometheus::Collectable {
 public:
  EngineCollector(engine::Engine* engine, const ServerState* state)
      : engine_(engine), state_(state) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  engine::Engine* const engine_;
  const ServerState* state_;
};

}  // namespace msa::server
