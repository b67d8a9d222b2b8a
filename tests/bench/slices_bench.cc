// The time between the tokens of one answer, alone and while a long document and a long prompt are
// in work: msa_slices_bench --model DIR [--shards R] [--threads N] [--document-tokens N]
//   [--prompt-tokens N] [--new-tokens N] [--rounds N] [--json FILE]
// A round is a new engine, an answer alone, and the same answer beside the two; other work on the
// machine then spoils both alike. The limit of the ratio of the medians is 2. Both answers must be
// the same before anything is reported.
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/engine.h"
#include "engine/engine_observer.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bench_output.h"
#include "tests/bench/bench_query.h"

namespace msa::bench {
namespace {

constexpr double kLimit = 2;
constexpr int kSampleWords = 1000;  // whose tokens are counted
constexpr size_t kFewestIntervals = 16;
constexpr int kLeastNewTokens = 40;  // so many intervals, and time for the company to come

struct BenchOptions {
  std::string model;
  int shards = 1;
  int threads = 0;
  int document_tokens = 8192;
  int prompt_tokens = 4096;
  int new_tokens = 100;
  int rounds = 3;
  std::string json;  // results go there as well
};

// Seconds between tokens of one round.
struct Intervals {
  std::vector<double> alone;
  std::vector<double> beside;
  double encoded_share = 0;  // of the rows that were computed beside the answer
};

double Quantile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  const auto index = static_cast<size_t>(part * static_cast<double>(values.size()));
  return values[std::min(index, values.size() - 1)];
}

// When the first of those that are in work beside the answer ended. Shared with their callbacks.
class Company {
 public:
  void Ended() {
    std::lock_guard lock(mutex_);
    end_ = std::min(end_, absl::Now());
  }
  absl::Time end() const {
    std::lock_guard lock(mutex_);
    return end_;
  }

 private:
  mutable std::mutex mutex_;
  absl::Time end_ = absl::InfiniteFuture();
};

int Words(engine::Engine* engine, int tokens) {
  const auto sample = engine->CountTokens(Text(kSampleWords, 0));
  if (!sample.ok()) Stop(sample.status().ToString());
  return static_cast<int>(int64_t{tokens} * kSampleWords / sample->num_tokens);
}

// When the answer got its tokens, and what else was computed in the steps that made them.
class AnswerSteps : public engine::EngineObserver {
 public:
  void StepDone(int64_t decode_rows, int64_t prefill_rows, int64_t encode_rows,
                absl::Duration /*elapsed*/) override {
    if (decode_rows == 0) return;
    std::lock_guard lock(mutex_);
    times_.push_back(absl::Now());
    prefilled_ += prefill_rows;
    encoded_ += encode_rows;
    changed_.notify_all();
  }
  void WaitForNext() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this, count = times_.size()] { return times_.size() > count; });
  }
  // Seconds between the tokens after `begin` and before `end`.
  std::vector<double> Intervals(absl::Time begin, absl::Time end) const {
    std::lock_guard lock(mutex_);
    std::vector<double> intervals;
    for (size_t i = 1; i < times_.size(); ++i) {
      if (times_[i - 1] >= begin && times_[i] <= end)
        intervals.push_back(absl::ToDoubleSeconds(times_[i] - times_[i - 1]));
    }
    return intervals;
  }
  // Rows times half layers.
  int64_t prefilled() const {
    std::lock_guard lock(mutex_);
    return prefilled_;
  }
  int64_t encoded() const {
    std::lock_guard lock(mutex_);
    return encoded_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<absl::Time> times_;
  int64_t prefilled_ = 0;
  int64_t encoded_ = 0;
};

Intervals MeasureRound(const BenchOptions& bench) {
  AnswerSteps steps;  // outlives the engine
  std::string data_dir =
      (std::filesystem::temp_directory_path() / "msa_slices_bench_XXXXXX").string();
  if (::mkdtemp(data_dir.data()) == nullptr) Stop("no temporary directory");
  engine::EngineOptions options;
  options.model_dir = bench.model;
  options.data_dir = data_dir;
  options.num_shards = bench.shards;
  options.num_threads = bench.threads;
  options.kv_memory_bytes = int64_t{4} << 30;
  auto opened = engine::Engine::Open(options, &steps);
  if (!opened.ok()) Stop(opened.status().ToString());
  std::unique_ptr<engine::Engine> engine = *std::move(opened);
  auto bank = engine->banks().Create("bench", {});
  if (!bank.ok()) Stop(bank.status().ToString());
  std::string alone_text, beside_text;
  Reader(engine.get(), Question(16, 0, bench.new_tokens)).Wait(&alone_text);
  Intervals intervals;
  intervals.alone = steps.Intervals(absl::InfinitePast(), absl::InfiniteFuture());
  auto reader = std::make_unique<Reader>(engine.get(), Question(16, 0, bench.new_tokens));
  steps.WaitForNext();
  const auto company = std::make_shared<Company>();
  engine::DocumentInput document;
  document.id = "long";
  document.text = Text(Words(engine.get(), bench.document_tokens), 1);
  (*bank)->Ingest(std::move(document), engine::IngestMode::kInsert, engine::AcknowledgeAt::kActive,
                  [company](const engine::IngestResult&) { company->Ended(); });
  engine::RetrieveRequest request;
  request.bank = "bench";
  request.question = Text(Words(engine.get(), bench.prompt_tokens), 2);
  auto prompt = engine->Retrieve(
      std::move(request),
      [company](const absl::StatusOr<engine::RetrieveResult>&) { company->Ended(); });
  if (!prompt.ok()) Stop(prompt.status().ToString());
  const absl::Time begin = absl::Now();
  reader->Wait(&beside_text);
  if (alone_text != beside_text)
    Stop("an answer's tokens depend on its company: nothing is reported");
  intervals.beside = steps.Intervals(begin, company->end());
  if (steps.prefilled() == 0 || steps.encoded() == 0)
    Stop("the prompt or the document stood still beside the answer: nothing is reported");
  intervals.encoded_share = static_cast<double>(steps.encoded()) /
                            static_cast<double>(steps.encoded() + steps.prefilled());
  reader.reset();  // nothing may outlive the engine
  prompt->reset();
  bank->reset();
  engine.reset();
  std::filesystem::remove_all(data_dir);
  return intervals;
}

void Run(const BenchOptions& bench) {
  Intervals all;
  std::vector<double> ratios, encoded_shares;
  for (int i = 0; i < bench.rounds; ++i) {
    const Intervals round = MeasureRound(bench);
    if (round.beside.size() < kFewestIntervals || round.alone.size() < kFewestIntervals)
      Stop(absl::StrCat("too few tokens: ", round.alone.size(), " and ", round.beside.size()));
    ratios.push_back(Quantile(round.beside, 0.5) / Quantile(round.alone, 0.5));
    std::printf("%zu tokens alone: %.0f ms, %zu beside: %.0f ms, 9 of 10 within %.0f: %.2f x\n",
                round.alone.size(), 1e3 * Quantile(round.alone, 0.5), round.beside.size(),
                1e3 * Quantile(round.beside, 0.5), 1e3 * Quantile(round.beside, 0.9),
                ratios.back());
    std::fflush(stdout);
    encoded_shares.push_back(round.encoded_share);
    all.alone.insert(all.alone.end(), round.alone.begin(), round.alone.end());
    all.beside.insert(all.beside.end(), round.beside.begin(), round.beside.end());
  }
  const nlohmann::ordered_json results = {{"document_tokens", bench.document_tokens},
                                          {"prompt_tokens", bench.prompt_tokens},
                                          {"alone_ms", 1e3 * Quantile(all.alone, 0.5)},
                                          {"beside_ms", 1e3 * Quantile(all.beside, 0.5)},
                                          {"beside_p90_ms", 1e3 * Quantile(all.beside, 0.9)},
                                          {"encoded_share", Quantile(encoded_shares, 0.5)},
                                          {"ratio", Quantile(ratios, 0.5)},
                                          {"limit", kLimit}};
  std::printf(
      "between tokens beside a document of %d and a prompt of %d tokens: %.2f x (at most %.0f)\n",
      bench.document_tokens, bench.prompt_tokens, Quantile(ratios, 0.5), kLimit);
  WriteJson(bench.json, results);
}

}  // namespace
}  // namespace msa::bench

int main(int argc, char** argv) {
  msa::bench::BenchOptions bench;
  CLI::App app("The time between the tokens of an answer, alone and beside long work.");
  app.add_option("--model", bench.model, "a checkpoint folder")->required();
  app.add_option("--shards", bench.shards)->check(CLI::Range(1, 1 << 20));
  app.add_option("--threads", bench.threads, "0: all cores")->check(CLI::Range(0, 1024));
  app.add_option("--document-tokens", bench.document_tokens)->check(CLI::Range(1, 1 << 20));
  app.add_option("--prompt-tokens", bench.prompt_tokens)->check(CLI::Range(1, 1 << 20));
  app.add_option("--new-tokens", bench.new_tokens)
      ->check(CLI::Range(msa::bench::kLeastNewTokens, 1 << 20));
  app.add_option("--rounds", bench.rounds)->check(CLI::Range(1, 1 << 20));
  app.add_option("--json", bench.json, "results go there as well");
  CLI11_PARSE(app, argc, argv);
  msa::bench::Run(bench);
  return 0;
}
