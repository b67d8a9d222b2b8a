// The bare document encoder:
//   msa_encoder_bench --model DIR --documents FILE [--threads N] [--passes N] [--json FILE]
// FILE has one {"text": …} per line, numbered from 1 as a new bank numbers them. The documents go
// through the layers in the jobs that the engine makes of them, one job after the other with all
// threads; nothing is tokenised, cut into steps or stored meanwhile. Before anything is timed a
// document's encoding in company is compared with its encoding alone and in short slices.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/engine_observer.h"
#include "engine/model/transformer.h"
#include "engine/model/weights.h"
#include "engine/scheduling/document_pass.h"
#include "engine/scheduling/encode_queue.h"
#include "engine/scheduling/step_plan.h"
#include "engine/text/prompt_template.h"
#include "engine/text/tokenizer.h"
#include "kernels/core/cpu_features.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bench_output.h"
#include "tests/bench/machine_limits.h"

namespace msa::engine {
namespace {

constexpr int64_t kActivationBytes = int64_t{256} << 20;  // as EngineOptions
constexpr size_t kCheckedDocuments = 20;
constexpr size_t kLimitBufferBytes = size_t{64} << 20;  // the read rate is not used

struct BenchOptions {
  std::string model;
  std::string documents;
  int threads = 0;
  int passes = 3;
  std::string json;  // results go there as well
};

using bench::Stop;
using bench::WriteJson;

template <class T>
T OrStop(absl::StatusOr<T> value) {
  if (!value.ok()) Stop(value.status().ToString());
  return *std::move(value);
}

using Documents = std::vector<std::vector<int32_t>>;  // their tokens

Documents ReadDocuments(const std::string& path, const std::string& model) {
  const auto tokenizer = OrStop(Tokenizer::Load(model + "/tokenizer.json"));
  const PromptTemplate prompt_template = OrStop(PromptTemplate::Load(model, *tokenizer));
  std::ifstream file(path);
  if (!file) Stop(path + " cannot be read");
  Documents documents;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("text")) Stop(path + ": a line has no text");
    documents.push_back(prompt_template.EncodeDocument(*tokenizer,
                                                       static_cast<uint32_t>(documents.size() + 1),
                                                       json["text"].get_ref<const std::string&>()));
  }
  if (documents.empty()) Stop(path + " has no documents");
  return documents;
}

// Multiply-adds of the products and of attention, two operations each.
double Operations(const ModelConfig& c, const Documents& documents) {
  double per_token = 0;
  for (int64_t layer = 0; layer < c.num_layers; ++layer) {
    const bool is_last = layer + 1 == c.num_layers;
    const bool routes = c.MsaIndex(layer) >= 0 && c.decouple_router;
    per_token += 2.0 * static_cast<double>(c.hidden_size * (routes ? 3 : 2) * c.kv_width());
    if (!is_last)
      per_token +=
          2.0 * static_cast<double>(c.hidden_size * (2 * c.query_width() + 3 * c.ffn_size));
  }
  const double per_key = 4.0 * static_cast<double>((c.num_layers - 1) * c.query_width());
  double operations = 0;
  for (const std::vector<int32_t>& document : documents) {
    const auto tokens = static_cast<double>(document.size());
    operations += tokens * per_token + tokens * (tokens + 1) / 2 * per_key;
  }
  return operations;
}

class Encoder {
 public:
  // Every plan is so long; an hour: a job is one plan.
  Encoder(const ModelConfig* config, const Weights* weights, kernels::OpContext context,
          absl::Duration slice_time)
      : config_(config),
        geometry_{.num_msa_layers = static_cast<int64_t>(config->msa_layers.size()),
                  .kv_width = config->kv_width(),
                  .tokens_per_chunk = config->tokens_per_chunk,
                  .dtype = kernels::DType::kBF16,
                  .model_fingerprint = weights->fingerprint,
                  .instruction_set = std::string(kernels::InstructionSet())},
        transformer_(config, weights, context, kernels::ComputeDType::kBF16),
        pass_(&transformer_, kernels::DType::kBF16),
        planner_(config, /*num_ranks=*/1, slice_time) {}

  std::vector<EncodedDocument> Encode(const Documents& documents) {
    EncodeQueue queue(config_, geometry_, /*num_ranks=*/1, kActivationBytes, SystemClock(),
                      &observer_);
    std::vector<EncodedDocument> encoded;
    encoded.reserve(documents.size());
    std::deque<EncodeRequest> requests;
    for (const std::vector<int32_t>& document : documents) {
      requests.push_back({document, [&encoded](absl::StatusOr<EncodedDocument> result) {
                            encoded.push_back(OrStop(std::move(result)));
                          }});
    }
    queue.Push(std::move(requests));
    while (encoded.size() < documents.size()) {
      queue.FormJobs();
      const StepPlan plan = planner_.Plan({{}}, queue.Jobs(), {});
      for (const Slice& slice : plan.stages[0].slices[0]) {
        if (const absl::Status status = pass_.Run(slice); !status.ok()) Stop(status.ToString());
      }
      queue.FinishJobs();
    }
    return encoded;
  }

 private:
  const ModelConfig* config_;
  MemoryGeometry geometry_;
  EngineObserver observer_;
  Transformer transformer_;
  DocumentPass pass_;
  Planner planner_;
};

// In company and in long slices, alone and in short ones.
void CheckEncodings(Encoder* encoder, Encoder* short_slices, const Documents& documents) {
  const Documents some(
      documents.begin(),
      documents.begin() + static_cast<int64_t>(std::min(documents.size(), kCheckedDocuments)));
  const std::vector<EncodedDocument> together = encoder->Encode(some);
  for (size_t i = 0; i < some.size(); ++i) {
    const EncodedDocument alone = std::move(short_slices->Encode({some[i]})[0]);
    if (alone.router_keys != together[i].router_keys || alone.content != together[i].content)
      Stop("a document's encoding depends on its company or its slices: nothing is reported");
  }
}

void Run(const BenchOptions& bench) {
  const ModelConfig config = OrStop(LoadModelConfig(bench.model));
  const auto weights = OrStop(Weights::Load(bench.model, config, kernels::ComputeDType::kBF16));
  const Documents documents = ReadDocuments(bench.documents, bench.model);
  const int threads =
      bench.threads > 0 ? bench.threads : static_cast<int>(std::thread::hardware_concurrency());
  kernels::ThreadPool pool(threads);
  const kernels::OpContext context{kernels::DeviceKind::kCpu, &pool};
  Encoder encoder(&config, weights.get(), context, absl::Hours(1));
  {
    Encoder short_slices(&config, weights.get(), context, absl::Nanoseconds(1));
    CheckEncodings(&encoder, &short_slices, documents);
  }
  const std::vector<uint64_t> buffer(kLimitBufferBytes / sizeof(uint64_t));
  const bench::MachineLimits limits = bench::MeasureLimits(
      pool, {.processor_time = false, .threads = threads}, buffer.data(), kLimitBufferBytes);
  const bench::Clock processor{.processor_time = true, .threads = 1};
  double seconds = 0, processor_seconds = 0;
  for (int i = 0; i < bench.passes; ++i) {
    const absl::Duration start = SystemClock()->Monotonic();
    const double processor_start = processor.Now();
    encoder.Encode(documents);
    const double pass = absl::ToDoubleSeconds(SystemClock()->Monotonic() - start);
    seconds = i == 0 ? pass : std::min(seconds, pass);
    processor_seconds += processor.Now() - processor_start;
  }
  double tokens = 0;
  for (const std::vector<int32_t>& document : documents)
    tokens += static_cast<double>(document.size());
  const auto count = static_cast<double>(documents.size());
  const double rate = Operations(config, documents) / seconds;
  const double share = rate / limits.f32_operations_per_second;
  std::printf(
      "%s, %d threads, %s: %zu documents of %.0f tokens, %.1f documents/s, %.0f tokens/s, %.1f "
      "GFLOPS, "
      "%.0f%% of the multiply-add rate\n",
      config.name.c_str(), threads, std::string(kernels::InstructionSet()).c_str(),
      documents.size(), tokens / count, count / seconds, tokens / seconds, rate / 1e9, 100 * share);
  const nlohmann::ordered_json results = {
      {"documents", documents.size()},
      {"tokens_per_document", tokens / count},
      {"documents_per_second", count / seconds},
      {"tokens_per_second", tokens / seconds},
      {"operations_per_second", rate},
      {"multiply_add_rate", limits.f32_operations_per_second},
      {"share_of_multiply_add_rate", share},
      {"processor_seconds_per_document", processor_seconds / bench.passes / count}};
  WriteJson(bench.json, results);
}

}  // namespace
}  // namespace msa::engine

int main(int argc, char** argv) {
  msa::engine::BenchOptions bench;
  CLI::App app("The bare document encoder.");
  app.add_option("--model", bench.model, "a checkpoint folder")->required();
  app.add_option("--documents", bench.documents, "one {\"text\": ...} per line")->required();
  app.add_option("--threads", bench.threads, "0: all cores")->check(CLI::Range(0, 1024));
  app.add_option("--passes", bench.passes)->check(CLI::Range(1, 1 << 20));
  app.add_option("--json", bench.json, "results go there as well");
  CLI11_PARSE(app, argc, argv);
  msa::engine::Run(bench);
  return 0;
}
