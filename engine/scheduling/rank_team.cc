#include "engine/scheduling/rank_team.h"

#include <utility>

namespace msa::engine {

RankTeam::RankTeam(std::unique_ptr<KvPagePool> pool, std::vector<std::unique_ptr<Rank>> ranks)
    : pool_(std::move(pool)), ranks_(std::move(ranks)), reports_(ranks_.size()) {
  for (size_t rank = 1; rank < ranks_.size(); ++rank)
    threads_.emplace_back([this, rank] { Loop(rank); });
}

RankTeam::~RankTeam() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::vector<RankReport> RankTeam::Execute(const StepPlan& plan) {
  {
    std::lock_guard lock(mutex_);
    plan_ = &plan;
    running_ = threads_.size();
    ++step_;
  }
  start_.notify_all();
  RankReport own = ranks_[0]->Execute(plan);
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [this] { return running_ == 0; });
  reports_[0] = std::move(own);
  return reports_;
}

void RankTeam::Loop(size_t rank) {
  uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    start_.wait(lock, [&] { return stop_ || step_ != seen; });
    if (stop_) return;
    seen = step_;
    const StepPlan& plan = *plan_;
    lock.unlock();
    RankReport report = ranks_[rank]->Execute(plan);
    lock.lock();
    reports_[rank] = std::move(report);
    if (--running_ == 0) finished_.notify_one();
  }
}

}  // namespace msa::engine
