#include "engine/scheduling/encode_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace msa::engine {
namespace {

constexpr int64_t kJobTokens = 512;  // short documents share a job up to this

}  // namespace

EncodeQueue::EncodeQueue(const ModelConfig* config, const MemoryGeometry& geometry, int num_ranks,
                         int64_t activation_bytes, Clock* clock, EngineObserver* observer)
    : config_(config),
      geometry_(geometry),
      max_activation_bytes_(activation_bytes),
      clock_(clock),
      observer_(observer),
      jobs_(static_cast<size_t>(num_ranks)) {}

void EncodeQueue::Push(std::deque<EncodeRequest> requests) {
  std::move(requests.begin(), requests.end(), std::back_inserter(waiting_));
}

void EncodeQueue::FormJobs() {
  for (std::unique_ptr<EncodeJob>& job : jobs_) {
    if (job != nullptr || waiting_.empty()) continue;
    const int64_t rows = NextJobRows(), in_work = activation_bytes();
    const int64_t row_floats = config_->hidden_size + config_->query_width() +
                               (config_->decouple_router ? 3 : 2) * config_->kv_width();
    const int64_t bytes = rows * row_floats * static_cast<int64_t>(sizeof(float));
    if (in_work > 0 && in_work + bytes > max_activation_bytes_) return;
    job = NextJob(rows);
  }
}

// The first that waits, and what follows it up to kJobTokens in all.
int64_t EncodeQueue::NextJobRows() const {
  int64_t rows = 0;
  for (const EncodeRequest& request : waiting_) {
    const auto tokens = static_cast<int64_t>(request.token_ids.size());
    if (rows > 0 && rows + tokens > kJobTokens) break;
    rows += tokens;
  }
  return rows;
}

std::unique_ptr<EncodeJob> EncodeQueue::NextJob(int64_t num_rows) {
  auto job = std::make_unique<EncodeJob>();
  job->started = clock_->Monotonic();
  job->doc_offsets.push_back(0);
  while (job->num_rows() < num_rows) {
    EncodeRequest& request = waiting_.front();
    const auto tokens = static_cast<int64_t>(request.token_ids.size());
    EncodedDocument& document = job->documents.emplace_back();
    document.num_tokens = tokens;
    document.num_chunks = geometry_.ChunksOf(tokens);
    document.router_keys.resize(
        static_cast<size_t>(document.num_chunks * geometry_.router_key_bytes_per_chunk()));
    document.content.resize(
        static_cast<size_t>(document.num_chunks * geometry_.content_bytes_per_chunk()));
    for (int32_t i = 0; i < tokens; ++i) {
      job->positions.push_back(i);
      job->visible.push_back(i + 1);
    }
    job->token_ids.insert(job->token_ids.end(), request.token_ids.begin(), request.token_ids.end());
    job->doc_offsets.push_back(job->num_rows());
    job->done.push_back(std::move(request.done));
    waiting_.pop_front();
  }
  const auto rows = static_cast<size_t>(num_rows);
  const auto kv_floats = rows * static_cast<size_t>(config_->kv_width());
  job->hidden.resize(rows * static_cast<size_t>(config_->hidden_size));
  job->query.resize(rows * static_cast<size_t>(config_->query_width()));
  job->key.resize(kv_floats);
  job->value.resize(kv_floats);
  job->router_key.resize(config_->decouple_router ? kv_floats : 0);
  return job;
}

std::vector<std::vector<EncodeJob*>> EncodeQueue::Jobs() const {
  std::vector<std::vector<EncodeJob*>> jobs(jobs_.size());
  for (size_t rank = 0; rank < jobs_.size(); ++rank) {
    if (jobs_[rank] != nullptr) jobs[rank].push_back(jobs_[rank].get());
  }
  return jobs;
}

void EncodeQueue::FinishJobs() {
  for (std::unique_ptr<EncodeJob>& job : jobs_) {
    if (job == nullptr || !job->finished) continue;
    const std::unique_ptr<EncodeJob> finished = std::exchange(job, nullptr);
    const absl::Duration elapsed = clock_->Monotonic() - finished->started;
    for (size_t i = 0; i < finished->documents.size(); ++i) {
      observer_->DocumentEncoded(finished->documents[i].num_tokens, elapsed);
      finished->done[i](std::move(finished->documents[i]));
    }
  }
}

int64_t EncodeQueue::activation_bytes() const {
  int64_t bytes = 0;
  for (const std::unique_ptr<EncodeJob>& job : jobs_) {
    if (job != nullptr) bytes += job->activation_bytes();
  }
  return bytes;
}

void EncodeQueue::CancelAll() {
  const absl::Status stopped = absl::CancelledError("the engine has stopped");
  for (std::unique_ptr<EncodeJob>& job : jobs_) {
    if (job == nullptr) continue;
    for (DocumentEncoder::EncodeDone& done : job->done) done(stopped);
    job.reset();
  }
  for (EncodeRequest& request : waiting_) request.done(stopped);
  waiting_.clear();
}

}  // namespace msa::engine
