// Tokens per second of a whole engine: msa_engine_bench --model DIR [--shards R] [--threads N]
// [--documents N]
//   [--prompt-tokens N] [--new-tokens N] [--concurrency N] [--json FILE]
// Ingests synthetic documents, then times a long prompt, decoding alone and decoding with other
// queries. The tokens that a random model writes mean nothing; that every run alone and together
// writes the same ones is checked before anything is reported.
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "engine/engine_observer.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bench_output.h"
#include "tests/bench/bench_query.h"

namespace msa::engine {
namespace {

using bench::Question;
using bench::Reader;
using bench::Stop;
using bench::Text;
using bench::WriteJson;

struct BenchOptions {
  std::string model;
  int shards = 1;
  int threads = 0;
  int documents = 200;
  int prompt_tokens = 512;
  int new_tokens = 64;
  int concurrency = 16;
  std::string json;  // results go there as well
};

// Sums up the steps that decoded for a given number of queries and did nothing else.
class DecodeSteps : public EngineObserver {
 public:
  void StepDone(int64_t decode_rows, int64_t prefill_rows, int64_t encode_rows,
                absl::Duration elapsed) override {
    std::lock_guard lock(mutex_);
    if (decode_rows != num_queries_ || prefill_rows > 0 || encode_rows > 0) return;
    ++num_steps_;
    elapsed_ += elapsed;
  }
  void Start(int num_queries) {
    std::lock_guard lock(mutex_);
    num_queries_ = num_queries;
    num_steps_ = 0;
    elapsed_ = absl::ZeroDuration();
  }
  double TokensPerSecond() {
    std::lock_guard lock(mutex_);
    if (num_steps_ == 0)
      Stop("no step decoded for all queries at once: raise --new-tokens or lower --concurrency");
    return static_cast<double>(num_steps_ * num_queries_) / absl::ToDoubleSeconds(elapsed_);
  }

 private:
  std::mutex mutex_;
  int64_t num_queries_ = 0;
  int64_t num_steps_ = 0;
  absl::Duration elapsed_;
};

double ResidentMegabytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::atof(line.c_str() + 6) / 1024;
  }
  return 0;
}

void Run(const BenchOptions& bench) {
  std::string data_dir =
      (std::filesystem::temp_directory_path() / "msa_engine_bench_XXXXXX").string();
  if (::mkdtemp(data_dir.data()) == nullptr) Stop("no temporary directory");
  EngineOptions options;
  options.model_dir = bench.model;
  options.data_dir = data_dir;
  options.num_shards = bench.shards;
  options.num_threads = bench.threads;
  options.kv_memory_bytes = int64_t{4} << 30;
  DecodeSteps decode_steps;  // outlives the engine
  auto opened = Engine::Open(options, &decode_steps);
  if (!opened.ok()) Stop(opened.status().ToString());
  const std::unique_ptr<Engine> engine = *std::move(opened);
  std::printf("%s, %d shards, %d threads, %s, compute %s, bank %s\n",
              engine->info().model.name.c_str(), engine->info().num_shards,
              engine->info().num_threads, engine->info().instruction_set.c_str(),
              engine->info().compute_dtype.c_str(), engine->info().bank_dtype.c_str());

  auto bank = *engine->banks().Create("bench", {});
  std::mutex mutex;
  std::condition_variable changed;
  int done = 0;
  int64_t tokens = 0;
  const absl::Time ingest_start = absl::Now();
  for (int i = 0; i < bench.documents; ++i) {
    DocumentInput document;
    document.id = absl::StrCat("d", i);
    document.text = Text(40, i);
    bank->Ingest(std::move(document), IngestMode::kInsert, AcknowledgeAt::kActive,
                 [&](IngestResult result) {
                   if (!result.status.ok()) Stop(result.status.ToString());
                   std::lock_guard lock(mutex);
                   ++done;
                   tokens += result.num_tokens;
                   changed.notify_all();
                 });
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done == bench.documents; });
  }
  const double ingest_seconds = absl::ToDoubleSeconds(absl::Now() - ingest_start);
  nlohmann::ordered_json results = {
      {"model", engine->info().model.name},
      {"shards", engine->info().num_shards},
      {"threads", engine->info().num_threads},
      {"instruction_set", engine->info().instruction_set},
      {"ingest_documents_per_second", bench.documents / ingest_seconds},
      {"ingest_tokens_per_second", static_cast<double>(tokens) / ingest_seconds}};
  std::printf("ingest: %d documents, %.1f documents/s, %.0f tokens/s\n", bench.documents,
              bench.documents / ingest_seconds, static_cast<double>(tokens) / ingest_seconds);

  std::string text;
  const FinishedEvent prompt =
      Reader(engine.get(), Question(bench.prompt_tokens, 0, 1)).Wait(&text);
  const double prefill =
      absl::ToDoubleSeconds(prompt.timings.prefill + prompt.timings.score + prompt.timings.fetch);
  std::printf("prefill: %lld tokens, %.1f tokens/s (score %.1f ms, fetch %.1f ms)\n",
              static_cast<long long>(prompt.prompt_tokens),
              static_cast<double>(prompt.prompt_tokens) / prefill,
              absl::ToDoubleMilliseconds(prompt.timings.score),
              absl::ToDoubleMilliseconds(prompt.timings.fetch));

  results["prompt_tokens"] = prompt.prompt_tokens;
  results["prefill_tokens_per_second"] = static_cast<double>(prompt.prompt_tokens) / prefill;

  std::vector<std::string> alone(static_cast<size_t>(bench.concurrency));
  decode_steps.Start(1);
  for (int i = 0; i < bench.concurrency; ++i) {
    Reader(engine.get(), Question(16, i, bench.new_tokens)).Wait(&alone[static_cast<size_t>(i)]);
  }
  const double decode_alone = decode_steps.TokensPerSecond();
  std::printf("decode, 1 query: %.1f tokens/s\n", decode_alone);
  results["decode_1_tokens_per_second"] = decode_alone;

  decode_steps.Start(bench.concurrency);
  std::vector<std::unique_ptr<Reader>> readers;
  const absl::Time start = absl::Now();
  for (int i = 0; i < bench.concurrency; ++i) {
    readers.push_back(std::make_unique<Reader>(engine.get(), Question(16, i, bench.new_tokens)));
  }
  int64_t together = 0;
  for (int i = 0; i < bench.concurrency; ++i) {
    std::string written;
    together += readers[static_cast<size_t>(i)]->Wait(&written).generated_tokens;
    if (written != alone[static_cast<size_t>(i)])
      Stop("a query's tokens depend on its company: nothing is reported");
  }
  const double wall = absl::ToDoubleSeconds(absl::Now() - start);
  const double decode_together = decode_steps.TokensPerSecond();
  std::printf(
      "decode, %d queries: %.1f tokens/s in the steps that all of them shared, %.1f tokens/s of "
      "wall time with their prompts\n",
      bench.concurrency, decode_together, static_cast<double>(together) / wall);
  results[absl::StrCat("decode_", bench.concurrency, "_tokens_per_second")] = decode_together;
  results["resident_megabytes"] = ResidentMegabytes();
  std::printf("resident: %.0f MB, weights %.0f MB, router keys %.1f MB\n", ResidentMegabytes(),
              static_cast<double>(engine->memory_usage().weights) / 1e6,
              static_cast<double>(engine->memory_usage().router_keys) / 1e6);
  readers.clear();
  bank.reset();
  std::filesystem::remove_all(data_dir);
  WriteJson(bench.json, results);
}

}  // namespace
}  // namespace msa::engine

int main(int argc, char** argv) {
  msa::engine::BenchOptions bench;
  CLI::App app("Tokens per second of a whole engine.");
  app.add_option("--model", bench.model, "a checkpoint folder")->required();
  app.add_option("--shards", bench.shards)->check(CLI::Range(1, 1 << 20));
  app.add_option("--threads", bench.threads, "0: all cores")->check(CLI::Range(0, 1024));
  app.add_option("--documents", bench.documents)->check(CLI::Range(1, 1 << 20));
  app.add_option("--prompt-tokens", bench.prompt_tokens)->check(CLI::Range(1, 1 << 20));
  app.add_option("--new-tokens", bench.new_tokens)->check(CLI::Range(1, 1 << 20));
  app.add_option("--concurrency", bench.concurrency)->check(CLI::Range(1, 1 << 20));
  app.add_option("--json", bench.json, "results go there as well");
  CLI11_PARSE(app, argc, argv);
  msa::engine::Run(bench);
  return 0;
}
