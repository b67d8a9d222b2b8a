#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/scheduling/rank.h"

namespace msa::engine {

// The ranks, the pages that they share, and their host threads: rank 0 runs on the thread that
// calls Execute, every other one has a thread of its own.
class RankTeam {
 public:
  RankTeam(std::unique_ptr<KvPagePool> pool, std::vector<std::unique_ptr<Rank>> ranks);
  ~RankTeam();

  // With a probe (see ForwardProbe) the last layer computes every row.
  bool has_probe() const { return ranks_[0]->has_probe(); }
  KvPagePool& pool() { return *pool_; }
  int size() const { return static_cast<int>(ranks_.size()); }
  Rank& rank(int i) { return *ranks_[static_cast<size_t>(i)]; }  // between steps

  // Runs one step on all ranks; returns when all are done. [rank]
  std::vector<RankReport> Execute(const StepPlan& plan);

 private:
  void Loop(size_t rank);

  std::unique_ptr<KvPagePool> pool_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable finished_;
  const StepPlan* plan_ = nullptr;
  uint64_t step_ = 0;
  size_t running_ = 0;
  bool stop_ = false;
  std::vector<RankReport> reports_;
  std::vector<std::thread> threads_;
};

}  // namespace msa::engine
