#include "tests/parity/parity_run.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <utility>

#include "engine/model/transformer.h"
#include "engine/scheduling/template_prefix.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/score_chunks.h"

namespace msa::parity {
namespace fs = std::filesystem;
namespace {

void Require(const absl::Status& status, const std::string& what) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %s\n", what.c_str(), status.ToString().c_str());
  std::exit(2);
}

int32_t ArgMax(absl::Span<const float> values) {
  return static_cast<int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace

struct ParityRun::Signal {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t count = 0;
  void Raise() {
    std::lock_guard lock(mutex);
    ++count;
    changed.notify_all();
  }
};

// The script first, then the model's own greedy choice; which is recorded either way.
class ParityRun::Source : public engine::TokenSource {
 public:
  explicit Source(ParityRun* run) : run_(run) {}
  absl::StatusOr<int32_t> Choose(const kernels::OpContext&, absl::Span<const float> logits,
                                 absl::Span<const int32_t>) override {
    const int32_t greedy = ArgMax(logits);
    if (!run_->observe_) return greedy;
    run_->rounds_.back().greedy.push_back(greedy);
    return run_->script_at_ < run_->script_.size() ? run_->script_[run_->script_at_++] : greedy;
  }

 private:
  ParityRun* run_;
};

ParityRun::ParityRun(const GoldenData& data, const std::string& checkpoint, int num_shards)
    : data_(data), signal_(std::make_unique<Signal>()) {
  char name[] = "/tmp/msa_parity_data_XXXXXX";
  data_dir_ = ::mkdtemp(name);
  engine::EngineOptions options;
  options.model_dir = checkpoint;
  options.data_dir = data_dir_;
  options.num_shards = num_shards;
  options.compute_dtype = kernels::ComputeDType::kF32;
  options.bank_dtype = kernels::DType::kF32;
  options.probe = this;
  options.make_token_source = [this](const engine::SamplingParams&) {
    return std::make_unique<Source>(this);
  };
  auto opened = engine::Engine::Open(options, nullptr);
  Require(opened.status(), checkpoint);
  engine_ = *std::move(opened);
  pool_ = std::make_unique<kernels::ThreadPool>(1);
  context_ = {kernels::DeviceKind::kCpu, pool_.get()};
  auto weights = engine::Weights::Load(checkpoint, config(), kernels::ComputeDType::kF32);
  Require(weights.status(), checkpoint);
  weights_ = *std::move(weights);
  auto bank = engine_->banks().Create("golden", {});
  Require(bank.status(), "create bank");
  bank_ = *bank;
  size_t done = 0;
  const auto& documents = data.golden()["documents"];
  std::map<uint32_t, std::string> by_number;  // numbers are given out in ascending order
  for (const auto& document : documents)
    by_number[document["number"].get<uint32_t>()] = document["text"];
  for (const auto& [number, text] : by_number) {
    engine::DocumentInput input;
    input.id = "d" + std::to_string(number);
    input.text = text;
    input.number = number;
    bank_->Ingest(std::move(input), engine::IngestMode::kInsert, engine::AcknowledgeAt::kActive,
                  [this, &done](engine::IngestResult result) {
                    Require(result.status, "ingest " + result.id);
                    std::lock_guard lock(signal_->mutex);
                    ++done;
                    signal_->changed.notify_all();
                  });
  }
  std::unique_lock lock(signal_->mutex);
  signal_->changed.wait(lock, [&] { return done == documents.size(); });
}

ParityRun::~ParityRun() {
  bank_.reset();
  engine_.reset();
  fs::remove_all(data_dir_);
}

std::unique_ptr<engine::GenerateStream> ParityRun::Ask(const std::string& question,
                                                       int32_t max_retrieval_tokens,
                                                       int32_t max_answer_tokens) {
  engine::GenerateRequest request;
  request.bank = "golden";
  request.question = question;
  request.explain_layers = true;
  request.params.constrain_citations = false;
  request.params.max_rounds = 16;
  request.params.max_retrieval_tokens = max_retrieval_tokens;
  request.params.max_answer_tokens = max_answer_tokens;
  auto stream = engine_->Generate(std::move(request), [this] { signal_->Raise(); });
  Require(stream.status(), "generate");
  return *std::move(stream);
}

RecordedRun ParityRun::Collect(engine::GenerateStream* stream) {
  RecordedRun run;
  while (true) {
    uint64_t seen;
    {
      std::lock_guard lock(signal_->mutex);
      seen = signal_->count;
    }
    engine::QueryEvent event;
    const auto state = stream->TryRead(&event);
    if (state == engine::GenerateStream::ReadState::kEnd) break;
    if (state == engine::GenerateStream::ReadState::kPending) {
      std::unique_lock lock(signal_->mutex);
      signal_->changed.wait(lock, [&] { return signal_->count != seen; });
      continue;
    }
    if (const auto* round = std::get_if<engine::RoundEvent>(&event)) {
      RecordedRound& recorded = run.rounds.emplace_back();
      for (const engine::LayerSelection& layer : round->layers)
        recorded.selected[layer.layer] = layer.numbers;
    }
    if (const auto* finished = std::get_if<engine::FinishedEvent>(&event)) run.finished = *finished;
  }
  run.status = stream->status();
  return run;
}

RecordedRun ParityRun::Run(const std::string& question, std::vector<int32_t> script,
                           int32_t max_retrieval_tokens, int32_t max_answer_tokens) {
  observe_ = true;
  script_ = std::move(script);
  script_at_ = 0;
  rounds_.clear();
  RecordedRun run = Collect(Ask(question, max_retrieval_tokens, max_answer_tokens).get());
  observe_ = false;
  for (size_t i = 0; i < run.rounds.size(); ++i) {
    rounds_[i].selected = std::move(run.rounds[i].selected);
  }
  run.rounds = std::move(rounds_);
  rounds_.clear();
  return run;
}

std::vector<RecordedRun> ParityRun::RunTogether(const std::vector<std::string>& questions,
                                                int32_t max_tokens) {
  std::vector<std::unique_ptr<engine::GenerateStream>> streams;
  for (const std::string& question : questions)
    streams.push_back(Ask(question, max_tokens, max_tokens));
  std::vector<RecordedRun> runs;
  for (auto& stream : streams) runs.push_back(Collect(stream.get()));
  return runs;
}

void ParityRun::OnPrompt(absl::Span<const int32_t> token_ids, absl::Span<const int32_t> positions,
                         absl::Span<const int32_t> routed_rows) {
  if (!observe_) return;
  RecordedRound& round = rounds_.emplace_back();
  round.token_ids.assign(token_ids.begin(), token_ids.end());
  round.positions.assign(positions.begin(), positions.end());
  round.routed_rows.assign(routed_rows.begin(), routed_rows.end());
}

void ParityRun::OnRouterQuery(int msa_index, kernels::TensorView<const float, 2> router_query) {
  if (!observe_) return;
  rounds_.back().router_query[msa_index].assign(router_query.data,
                                                router_query.data + router_query.size());
}

void ParityRun::OnHidden(int64_t layer, int64_t first_row,
                         kernels::TensorView<const float, 2> hidden) {
  if (!observe_) return;
  for (int64_t i = 0; i < hidden.shape[0]; ++i) {
    rounds_.back().hidden[layer][first_row + i].assign(hidden.row(i),
                                                       hidden.row(i) + hidden.shape[1]);
  }
}

void ParityRun::OnLogits(kernels::TensorView<const float, 1> logits) {
  if (observe_) rounds_.back().logits.emplace_back(logits.data, logits.data + logits.size());
}

std::vector<float> ParityRun::Scores(int msa_index, const std::vector<float>& router_query) {
  const engine::ModelConfig& c = config();
  const int64_t width =
      c.head_reduce == kernels::HeadReduce::kMean ? c.kv_width() : c.query_width();
  const auto rows = static_cast<int64_t>(router_query.size()) / width;
  const std::vector<int64_t> offsets{0, rows};
  const std::vector<uint64_t> revisions{bank_->Pin()->revision()};
  const auto& documents = data_.golden()["documents"];
  const auto all = static_cast<int64_t>(documents.size());
  std::map<uint32_t, float> by_number;
  for (int shard = 0; shard < bank_->num_shards(); ++shard) {
    std::vector<kernels::ScoredDocument> top(documents.size());
    int64_t found = 0;
    Require(kernels::ScoreChunks(context_, {.query = {router_query.data(), {rows, width}},
                                            .query_offsets = offsets,
                                            .query_revisions = revisions,
                                            .head_reduce = c.head_reduce,
                                            .query_reduce = c.query_reduce,
                                            .chunk_reduce = c.chunk_reduce,
                                            .num_query_heads = c.num_query_heads,
                                            .num_kv_heads = c.num_kv_heads,
                                            .head_dim = c.head_dim,
                                            .scale = c.score_scale(),
                                            .compute = kernels::ComputeDType::kF32,
                                            .extents = bank_->shard(shard).RouterKeys(msa_index),
                                            .top_k = all,
                                            .top = {top.data(), {1, all}},
                                            .num_found = {&found, 1}}),
            "score");
    for (int64_t i = 0; i < found; ++i)
      by_number[top[static_cast<size_t>(i)].number] = top[static_cast<size_t>(i)].score;
  }
  std::vector<float> scores;
  for (const auto& document : documents)
    scores.push_back(by_number.at(document["number"].get<uint32_t>()));
  return scores;
}

std::vector<float> ParityRun::Stored(int msa_index, const std::string& part) {
  const auto width = static_cast<size_t>(config().kv_width());
  std::vector<float> all;
  for (const auto& document : data_.golden()["documents"]) {
    const auto number = document["number"].get<uint32_t>();
    for (int s = 0; s < bank_->num_shards(); ++s) {
      const engine::Shard& shard = bank_->shard(s);
      const auto chunks = static_cast<size_t>(shard.NumChunks(number));
      if (chunks == 0) continue;
      if (part == "kr") {
        for (const kernels::KeyExtent& extent : shard.RouterKeys(msa_index)) {
          const auto at = std::find(extent.numbers.begin(), extent.numbers.end(), number);
          if (at == extent.numbers.end()) continue;
          const auto i = static_cast<size_t>(at - extent.numbers.begin());
          const auto* keys = static_cast<const float*>(extent.keys);
          all.insert(all.end(), keys + extent.chunk_offsets[i] * width,
                     keys + extent.chunk_offsets[i + 1] * width);
        }
        continue;
      }
      std::vector<float> content(chunks * 2 * width);
      Require(shard.ReadContent(
                  number, msa_index,
                  {reinterpret_cast<std::byte*>(content.data()), content.size() * sizeof(float)}),
              "content");
      for (size_t chunk = 0; chunk < chunks; ++chunk) {
        const float* row = content.data() + (2 * chunk + (part == "v")) * width;
        all.insert(all.end(), row, row + width);
      }
    }
  }
  return all;
}

std::vector<float> ParityRun::FinalNorm(const std::vector<float>& hidden) {
  std::vector<float> normed(hidden.size());
  const auto width = static_cast<int64_t>(hidden.size());
  Require(kernels::RmsNorm(context_, {hidden.data(), {1, width}}, weights_->final_norm,
                           config().rms_epsilon, {normed.data(), {1, width}}),
          "norm");
  return normed;
}

std::vector<float> ParityRun::Logits(const std::vector<float>& hidden) {
  const std::vector<float> normed = FinalNorm(hidden);
  std::vector<float> logits(static_cast<size_t>(config().vocab_size));
  Require(
      kernels::MatMul(context_, {.input = {normed.data(), {1, static_cast<int64_t>(normed.size())}},
                                 .weight = weights_->lm_head,
                                 .output = {logits.data(), {1, config().vocab_size}},
                                 .compute = kernels::ComputeDType::kF32}),
      "logits");
  return logits;
}

std::vector<std::vector<float>> ParityRun::TemplatePrefix(bool values) {
  const engine::ModelConfig& c = config();
  engine::Transformer transformer(&c, weights_.get(), context_, kernels::ComputeDType::kF32);
  const auto ids = data_.golden()["template_prefix"]["token_ids"].get<std::vector<int32_t>>();
  auto prefix = engine::ComputeTemplatePrefix(&transformer, ids, kernels::DType::kF32);
  Require(prefix.status(), "template prefix");
  std::vector<std::vector<float>> layers;
  for (const auto& pages : prefix->pages) {
    std::vector<float>& rows = layers.emplace_back();
    for (size_t row = 0; row < ids.size(); ++row) {
      for (int64_t head = 0; head < c.num_kv_heads; ++head) {
        const int64_t at = ((values ? c.num_kv_heads : 0) + head) * prefix->shape.rows_per_page +
                           static_cast<int64_t>(row);
        std::vector<float> one(static_cast<size_t>(c.head_dim));
        std::memcpy(one.data(), pages.data() + static_cast<size_t>(at * c.head_dim) * sizeof(float),
                    one.size() * sizeof(float));
        rows.insert(rows.end(), one.begin(), one.end());
      }
    }
  }
  return layers;
}

}  // namespace msa::parity
