#include "server/server_metrics.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "server/version.h"

namespace msa::server {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;

constexpr size_t kNumMethods = kRpcMethodNames.size();
constexpr size_t kNumCodes = 17;   // canonical codes
constexpr size_t kNumShards = 64;  // the most that options allow

const Buckets& RequestBuckets() {
  static const Buckets buckets = {.001, .0025, .005, .01, .025, .05, .1, .25,
                                  .5,   1,     2.5,  5,   10,   30,  60, 120};
  return buckets;
}
const Buckets& FirstTokenBuckets() {
  static const Buckets buckets = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60};
  return buckets;
}
const Buckets& StageBuckets() {
  static const Buckets buckets = {.00005, .0001, .00025, .0005, .001, .0025, .005, .01,
                                  .025,   .05,   .1,     .25,   .5,   1,     2.5,  10};
  return buckets;
}
const Buckets& RoundBuckets() {
  static const Buckets buckets = {1, 2, 3, 4, 6, 8, 12, 16, 32, 64};
  return buckets;
}

template <class Builder>
auto& Register(Builder builder, Metric metric, prometheus::Registry* registry) {
  const MetricSpec& spec = SpecOf(metric);
  return builder.Name(std::string(spec.name)).Help(std::string(spec.help)).Register(*registry);
}

// By what helps a query that was turned away: waiting, asking for less, another server.
std::string RejectionReason(const absl::Status& status) {
  if (status.code() == absl::StatusCode::kResourceExhausted) return "queue_full";
  if (status.code() == absl::StatusCode::kInvalidArgument) return "too_long";
  return "unavailable";
}

// Children of a family by a small index, each made when it first counts, so that the page holds no
// series of calls that never came.
template <class T, size_t kSize>
class Children {
 public:
  template <class Make>
  T& Get(size_t index, Make make) {
    T* child = children_[index].load(std::memory_order_acquire);
    if (child == nullptr) {
      child = &make();  // Family::Add gives the same child for the same labels
      children_[index].store(child, std::memory_order_release);
    }
    return *child;
  }

 private:
  std::array<std::atomic<T*>, kSize> children_{};
};

double Seconds(absl::Duration duration) { return std::max(0.0, absl::ToDoubleSeconds(duration)); }

}  // namespace

struct ServerMetrics::Series {
  explicit Series(prometheus::Registry* registry)
      : grpc_requests(Register(prometheus::BuildCounter(), Metric::kGrpcRequests, registry)),
        grpc_duration(
            Register(prometheus::BuildHistogram(), Metric::kGrpcRequestDuration, registry)),
        grpc_streams(Register(prometheus::BuildGauge(), Metric::kGrpcStreams, registry)),
        shard_score(Register(prometheus::BuildHistogram(), Metric::kShardScore, registry)),
        scored_chunks(Register(prometheus::BuildCounter(), Metric::kScoredChunks, registry)) {
    Register(prometheus::BuildGauge(), Metric::kBuildInfo, registry)
        .Add({{"version", std::string(Version())}})
        .Set(1);
    rejections = Counters(registry, Metric::kAdmissionRejections, "reason",
                          {"queue_full", "too_long", "unavailable"});
    finished =
        Counters(registry, Metric::kRequestsFinished, "finish_reason",
                 {"stop", "stop_string", "max_answer_tokens", "no_answer", "max_retrieval_tokens",
                  "max_rounds", "max_expansion", "cancelled", "deadline", "error"});
    citations = Counters(registry, Metric::kCitations, "valid", {"true", "false"});
    step_rows = Counters(registry, Metric::kStepRows, "kind", {"decode", "prefill", "encode"});
    ingested = Counters(registry, Metric::kIngestDocuments, "result",
                        {"accepted", "active", "failed", "duplicate"});
    auto& stage_family = Register(prometheus::BuildHistogram(), Metric::kStage, registry);
    for (const char* name : {"tokenize", "prefill", "score", "fetch", "decode"}) {
      stages.push_back(&stage_family.Add({{"stage", name}}, StageBuckets()));
    }
    const auto counter = [&](Metric metric) {
      return &Register(prometheus::BuildCounter(), metric, registry).Add({});
    };
    const auto histogram = [&](Metric metric, const Buckets& buckets) {
      return &Register(prometheus::BuildHistogram(), metric, registry).Add({}, buckets);
    };
    prompt_tokens = counter(Metric::kPromptTokens);
    generated_tokens = counter(Metric::kGeneratedTokens);
    rescored_documents = counter(Metric::kRescoredDocuments);
    first_pass_fallbacks = counter(Metric::kFirstPassFallbacks);
    fetch_bytes = counter(Metric::kKvFetchBytes);
    ingest_tokens = counter(Metric::kIngestTokens);
    checksum_failures = counter(Metric::kChecksumFailures);
    queue = histogram(Metric::kRequestQueue, RequestBuckets());
    first_token = histogram(Metric::kTimeToFirstToken, FirstTokenBuckets());
    duration = histogram(Metric::kRequestDuration, RequestBuckets());
    rounds = histogram(Metric::kRounds, RoundBuckets());
    step = histogram(Metric::kStep, StageBuckets());
    fetch = histogram(Metric::kKvFetch, StageBuckets());
    encode = histogram(Metric::kIngestEncode, RequestBuckets());
    visible_lag = histogram(Metric::kIngestVisibleLag, RequestBuckets());
  }

  static std::map<std::string, Counter*> Counters(prometheus::Registry* registry, Metric metric,
                                                  const std::string& label,
                                                  const std::vector<std::string>& values) {
    auto& family = Register(prometheus::BuildCounter(), metric, registry);
    std::map<std::string, Counter*> counters;
    for (const std::string& value : values) counters[value] = &family.Add({{label, value}});
    return counters;
  }

  Gauge& Streams(RpcMethod method) {
    return streams.Get(static_cast<size_t>(method), [&]() -> Gauge& {
      return grpc_streams.Add({{"method", std::string(NameOf(method))}});
    });
  }

  Family<Counter>& grpc_requests;
  Family<Histogram>& grpc_duration;
  Family<Gauge>& grpc_streams;
  Family<Histogram>& shard_score;
  Family<Counter>& scored_chunks;
  Children<Counter, kNumMethods * kNumCodes> requests;
  Children<Histogram, kNumMethods> durations;
  Children<Gauge, kNumMethods> streams;
  Children<Histogram, kNumShards> shard_scores;
  Children<Counter, kNumShards> shard_chunks;

  std::map<std::string, Counter*> rejections, finished, citations, step_rows, ingested;
  std::vector<Histogram*> stages;  // in the order of StageTimings
  Counter* prompt_tokens;
  Counter* generated_tokens;
  Counter* rescored_documents;
  Counter* first_pass_fallbacks;
  Counter* fetch_bytes;
  Counter* ingest_tokens;
  Counter* checksum_failures;
  Histogram* queue;
  Histogram* first_token;
  Histogram* duration;
  Histogram* rounds;
  Histogram* step;
  Histogram* fetch;
  Histogram* encode;
  Histogram* visible_lag;
};

ServerMetrics::ServerMetrics()
    : registry_(std::make_shared<prometheus::Registry>()),
      series_(std::make_unique<Series>(registry_.get())) {}
ServerMetrics::~ServerMetrics() = default;

void ServerMetrics::StreamOpened(RpcMethod method) { series_->Streams(method).Increment(); }
void ServerMetrics::StreamClosed(RpcMethod method) { series_->Streams(method).Decrement(); }

void ServerMetrics::CallEnded(RpcMethod method, absl::StatusCode code, absl::Duration elapsed) {
  const auto method_index = static_cast<size_t>(method);
  const size_t code_index = std::min(static_cast<size_t>(code), kNumCodes - 1);
  const std::string name(NameOf(method));
  series_->requests
      .Get(method_index * kNumCodes + code_index,
           [&]() -> Counter& {
             return series_->grpc_requests.Add(
                 {{"method", name}, {"code", absl::StatusCodeToString(code)}});
           })
      .Increment();
  series_->durations
      .Get(method_index,
           [&]() -> Histogram& {
             return series_->grpc_duration.Add({{"method", name}}, RequestBuckets());
           })
      .Observe(Seconds(elapsed));
}

void ServerMetrics::AnswerEnded(const std::string& finish_reason) {
  series_->finished.at(finish_reason)->Increment();
}

void ServerMetrics::DocumentAccepted() { series_->ingested.at("accepted")->Increment(); }

void ServerMetrics::DocumentActive(int64_t num_tokens, absl::Duration since_accepted) {
  series_->ingested.at("active")->Increment();
  series_->ingest_tokens->Increment(static_cast<double>(num_tokens));
  series_->visible_lag->Observe(Seconds(since_accepted));
}

void ServerMetrics::DocumentFailed() { series_->ingested.at("failed")->Increment(); }
void ServerMetrics::DocumentDeduplicated() { series_->ingested.at("duplicate")->Increment(); }
void ServerMetrics::ChecksumFailed() { series_->checksum_failures->Increment(); }

void ServerMetrics::RequestRejected(const absl::Status& status) {
  series_->rejections.at(RejectionReason(status))->Increment();
}

void ServerMetrics::RequestStarted(absl::Duration queued) {
  series_->queue->Observe(Seconds(queued));
}
void ServerMetrics::FirstToken(absl::Duration since_arrival) {
  series_->first_token->Observe(Seconds(since_arrival));
}

void ServerMetrics::RequestFinished(const absl::Status&, const engine::StageTimings& timings,
                                    int64_t num_rounds, int64_t prompt_tokens,
                                    int64_t generated_tokens) {
  series_->duration->Observe(Seconds(timings.total));
  if (num_rounds > 0) series_->rounds->Observe(static_cast<double>(num_rounds));
  series_->prompt_tokens->Increment(static_cast<double>(prompt_tokens));
  series_->generated_tokens->Increment(static_cast<double>(generated_tokens));
  const std::array<absl::Duration, 5> stages = {timings.tokenize, timings.prefill, timings.score,
                                                timings.fetch, timings.decode};
  for (size_t i = 0; i < stages.size(); ++i) {
    if (stages[i] > absl::ZeroDuration()) series_->stages[i]->Observe(Seconds(stages[i]));
  }
}

void ServerMetrics::Cited(int64_t num_known, int64_t num_unknown) {
  series_->citations.at("true")->Increment(static_cast<double>(num_known));
  series_->citations.at("false")->Increment(static_cast<double>(num_unknown));
}

void ServerMetrics::StepDone(int64_t decode_rows, int64_t prefill_rows, int64_t encode_rows,
                             absl::Duration elapsed) {
  series_->step_rows.at("decode")->Increment(static_cast<double>(decode_rows));
  series_->step_rows.at("prefill")->Increment(static_cast<double>(prefill_rows));
  series_->step_rows.at("encode")->Increment(static_cast<double>(encode_rows));
  series_->step->Observe(Seconds(elapsed));
}

void ServerMetrics::ShardScored(int shard, int64_t num_chunks, absl::Duration elapsed) {
  if (shard < 0 || static_cast<size_t>(shard) >= kNumShards) return;
  const auto index = static_cast<size_t>(shard);
  const prometheus::Labels labels = {{"shard", absl::StrCat(shard)}};
  series_->shard_scores
      .Get(index, [&]() -> Histogram& { return series_->shard_score.Add(labels, StageBuckets()); })
      .Observe(Seconds(elapsed));
  series_->shard_chunks.Get(index, [&]() -> Counter& { return series_->scored_chunks.Add(labels); })
      .Increment(static_cast<double>(num_chunks));
}

void ServerMetrics::FirstPassDone(int64_t rescored_documents, int64_t fallbacks) {
  series_->rescored_documents->Increment(static_cast<double>(rescored_documents));
  series_->first_pass_fallbacks->Increment(static_cast<double>(fallbacks));
}

void ServerMetrics::ContentFetched(int64_t num_bytes, absl::Duration elapsed) {
  series_->fetch_bytes->Increment(static_cast<double>(num_bytes));
  series_->fetch->Observe(Seconds(elapsed));
}

void ServerMetrics::DocumentEncoded(int64_t, absl::Duration elapsed) {
  series_->encode->Observe(Seconds(elapsed));
}

}  // namespace msa::server
