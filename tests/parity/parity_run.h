#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/generation/token_source.h"
#include "engine/model/forward_probe.h"
#include "engine/model/weights.h"
#include "tests/parity/golden_data.h"

namespace msa::parity {

// What one round of the production path computed.
struct RecordedRound {
  std::vector<int32_t> token_ids, positions, routed_rows;
  std::map<int, std::vector<float>> router_query;  // [MSA layer index] -> [routed rows, W]
  std::map<int64_t, std::map<int64_t, std::vector<float>>>
      hidden;  // [layer][row] -> [M]; rows count from the prompt's first
  std::vector<std::vector<float>> logits;             // one per choice
  std::vector<int32_t> greedy;                        // the model's own choice each time
  std::map<int64_t, std::vector<uint32_t>> selected;  // [layer] numbers, best first
};

// One forced or free run through the engine.
struct RecordedRun {
  std::vector<RecordedRound> rounds;
  absl::Status status;
  engine::FinishedEvent finished;
};

// An engine over one checkpoint and the golden documents, in f32, with everything observed.
class ParityRun : private engine::ForwardProbe {
 public:
  ParityRun(const GoldenData& data, const std::string& checkpoint, int num_shards);
  ~ParityRun() override;

  // Forces `script` as the model's tokens; greedy once it is used up. Free citations.
  RecordedRun Run(const std::string& question, std::vector<int32_t> script,
                  int32_t max_retrieval_tokens, int32_t max_answer_tokens);
  // Greedy runs of all questions at once, unobserved: selections per round and layer, and answers.
  std::vector<RecordedRun> RunTogether(const std::vector<std::string>& questions,
                                       int32_t max_tokens);

  // Scores of all documents in the order of golden.json, from recorded router queries, over all
  // shards.
  std::vector<float> Scores(int msa_index, const std::vector<float>& router_query);
  // A stored array of all documents: "k", "v" or "kr", [chunks, kv_width].
  std::vector<float> Stored(int msa_index, const std::string& part);

  std::vector<float> FinalNorm(const std::vector<float>& hidden);
  std::vector<float> Logits(
      const std::vector<float>& hidden);  // of an un-normed final hidden state
  const engine::ModelConfig& config() const { return engine_->info().model; }
  std::vector<std::vector<float>> TemplatePrefix(bool values);  // [layer] -> [rows, kv_width]

 private:
  class Source;
  void OnPrompt(absl::Span<const int32_t> token_ids, absl::Span<const int32_t> positions,
                absl::Span<const int32_t> routed_rows) override;
  void OnRouterQuery(int msa_index, kernels::TensorView<const float, 2> router_query) override;
  void OnHidden(int64_t layer, int64_t first_row,
                kernels::TensorView<const float, 2> hidden) override;
  void OnLogits(kernels::TensorView<const float, 1> logits) override;
  RecordedRun Collect(engine::GenerateStream* stream);
  std::unique_ptr<engine::GenerateStream> Ask(const std::string& question,
                                              int32_t max_retrieval_tokens,
                                              int32_t max_answer_tokens);

  const GoldenData& data_;
  std::string data_dir_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<engine::Weights> weights_;
  std::unique_ptr<kernels::ThreadPool> pool_;
  kernels::OpContext context_;
  std::shared_ptr<engine::Bank> bank_;
  bool observe_ = false;
  std::vector<int32_t> script_;
  size_t script_at_ = 0;
  std::vector<RecordedRound> rounds_;
  struct Signal;
  std::unique_ptr<Signal> signal_;
};

}  // namespace msa::parity
