// Compares the engine with golden data: msa_parity_test --golden DIR [--tokenizer DIR] [gtest
// flags]. Every case runs from each checkpoint of the directory with 1, 2 and 3 shards, in f32. The
// limits are five to ten times the error of plain f32 arithmetic against the f64 data.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"
#include "tests/parity/golden_data.h"
#include "tests/parity/parity_run.h"

namespace msa::parity {
namespace {

constexpr double kRouterKeyLimit = 2e-5, kKeyLimit = 1e-4, kValueLimit = 5e-5, kScoreLimit = 5e-6;
constexpr double kHiddenLimit = 2e-4, kLogitLimit = 1e-4;
constexpr double kDecisiveGap =
    1e-3;  // greedy tokens are compared where the two best logits are further apart

GoldenData* g_data = nullptr;
std::string g_tokenizer_dir;

struct Configuration {
  std::string checkpoint;  // directory
  int num_shards = 1;
};

std::vector<Configuration> Configurations() {
  std::vector<Configuration> setups;
  for (const std::string& checkpoint : g_data->checkpoints()) {
    for (int shards : {1, 2, 3}) setups.push_back({checkpoint, shards});
  }
  return setups;
}

std::string NameOf(const Configuration& configuration) {
  return configuration.checkpoint.substr(configuration.checkpoint.rfind('/') + 1) + ", " +
         std::to_string(configuration.num_shards) + " shards";
}

std::string LayerName(int64_t layer) { return "layer" + std::to_string(layer); }

void ExpectClose(const std::string& tensor, const std::vector<float>& computed, double limit) {
  EXPECT_LE(LargestDifference(g_data->Tensor(tensor), computed), limit) << tensor;
}

// The prompt's part of a round: ids, positions, routed rows, scores, selections in order, the last
// row's final state.
void CheckPrefill(ParityRun* run, const std::string& key, const nlohmann::json& golden,
                  const RecordedRound& round) {
  EXPECT_EQ(round.token_ids, golden["token_ids"].get<std::vector<int32_t>>()) << key;
  EXPECT_EQ(round.positions, golden["positions"].get<std::vector<int32_t>>()) << key;
  std::vector<int32_t> routed;
  for (size_t i = 0; i < golden["routed"].size(); ++i) {
    if (golden["routed"][i].get<int>() != 0) routed.push_back(static_cast<int32_t>(i));
  }
  EXPECT_EQ(round.routed_rows, routed) << key;
  const engine::ModelConfig& c = run->config();
  for (size_t i = 0; i < c.msa_layers.size(); ++i) {
    const int64_t layer = c.msa_layers[i];
    const std::vector<float> scores =
        run->Scores(static_cast<int>(i), round.router_query.at(static_cast<int>(i)));
    ExpectClose(key + "." + LayerName(layer) + ".scores", scores, kScoreLimit);
    EXPECT_EQ(round.selected.at(layer),
              golden["selected"][std::to_string(layer)].get<std::vector<uint32_t>>())
        << key << " " << LayerName(layer);
  }
  const auto last = static_cast<int64_t>(golden["token_ids"].size()) - 1;
  ExpectClose(key + ".hidden", run->FinalNorm(round.hidden.at(c.num_layers - 1).at(last)),
              kHiddenLimit);
}

TEST(Parity, StoredMemoryEqualsTheReference) {
  for (const Configuration& configuration : Configurations()) {
    SCOPED_TRACE(NameOf(configuration));
    ParityRun run(*g_data, configuration.checkpoint, configuration.num_shards);
    const auto& layers = run.config().msa_layers;
    for (size_t i = 0; i < layers.size(); ++i) {
      const std::string stage1 = "stage1." + LayerName(layers[i]) + ".";
      ExpectClose(stage1 + "k", run.Stored(static_cast<int>(i), "k"), kKeyLimit);
      ExpectClose(stage1 + "v", run.Stored(static_cast<int>(i), "v"), kValueLimit);
      ExpectClose(stage1 + "kr", run.Stored(static_cast<int>(i), "kr"), kRouterKeyLimit);
    }
    const auto keys = run.TemplatePrefix(/*values=*/false),
               values = run.TemplatePrefix(/*values=*/true);
    for (size_t layer = 0; layer < keys.size(); ++layer) {
      ExpectClose("template.layer" + std::to_string(layer) + ".k", keys[layer], kKeyLimit);
      ExpectClose("template.layer" + std::to_string(layer) + ".v", values[layer], kValueLimit);
    }
  }
}

TEST(Parity, QuestionsRouteAndContinueAsTheReference) {
  for (const Configuration& configuration : Configurations()) {
    SCOPED_TRACE(NameOf(configuration));
    ParityRun run(*g_data, configuration.checkpoint, configuration.num_shards);
    const engine::ModelConfig& c = run.config();
    const auto& questions = g_data->golden()["questions"];
    int greedy_tokens = 0;
    for (size_t i = 0; i < questions.size(); ++i) {
      const auto& question = questions[i];
      const std::string key = "q" + std::to_string(i);
      const auto greedy = question["greedy_ids"].get<std::vector<int32_t>>();
      const RecordedRun recorded =
          run.Run(question["text"], {}, static_cast<int32_t>(greedy.size()) + 1, 1);
      ASSERT_TRUE(recorded.status.ok()) << recorded.status;
      ASSERT_FALSE(recorded.rounds.empty());
      const RecordedRound& round = recorded.rounds[0];
      CheckPrefill(&run, key, question, round);
      ExpectClose(key + ".logits", round.logits.at(0), kLogitLimit);
      const auto last = static_cast<int64_t>(round.token_ids.size()) - 1;
      std::vector<float> layer_hidden;
      for (int64_t layer = 0; layer < c.num_layers; ++layer) {
        const std::vector<float>& row = round.hidden.at(layer).at(last);
        layer_hidden.insert(layer_hidden.end(), row.begin(), row.end());
        const std::string all = key + "." + LayerName(layer) + ".all_hidden";
        if (!g_data->Has(all)) continue;
        std::vector<float> rows;
        for (int64_t r = 0; r <= last; ++r) {
          const std::vector<float>& one = round.hidden.at(layer).at(r);
          rows.insert(rows.end(), one.begin(), one.end());
        }
        ExpectClose(all, rows, kHiddenLimit);
      }
      ExpectClose(key + ".layer_hidden", layer_hidden, kHiddenLimit);
      for (size_t m = 0; m < c.msa_layers.size(); ++m) {
        const std::string name = key + "." + LayerName(c.msa_layers[m]) + ".router_q";
        if (!g_data->Has(name) || c.head_reduce != kernels::HeadReduce::kMean) continue;
        // Stored per head; ours are summed over the heads of a KV head and divided by the number of
        // heads.
        const std::vector<float> heads = g_data->Tensor(name);
        const auto rows = heads.size() / static_cast<size_t>(c.query_width());
        const auto group = static_cast<size_t>(c.num_query_heads / c.num_kv_heads);
        const auto d = static_cast<size_t>(c.head_dim);
        std::vector<float> summed(rows * static_cast<size_t>(c.kv_width()));
        for (size_t h = 0; h < heads.size(); ++h) {
          const size_t row = h / static_cast<size_t>(c.query_width());
          const size_t head = h / d % static_cast<size_t>(c.num_query_heads);
          summed[row * static_cast<size_t>(c.kv_width()) + head / group * d + h % d] +=
              heads[h] / static_cast<float>(c.num_query_heads);
        }
        EXPECT_LE(LargestDifference(summed, round.router_query.at(static_cast<int>(m))),
                  kRouterKeyLimit)
            << name;
      }
      // A marker or eos among the greedy tokens ends the round, and with it the comparison.
      for (size_t t = 0; t < std::min(greedy.size(), round.greedy.size()); ++t, ++greedy_tokens) {
        ASSERT_EQ(round.greedy[t], greedy[t]) << key << " token " << t;
      }
      if (!question["greedy_then"].is_null() && round.greedy.size() > greedy.size()) {
        EXPECT_EQ(round.greedy[greedy.size()], question["greedy_then"].get<int32_t>()) << key;
      }
    }
    EXPECT_GT(greedy_tokens, 0);
  }
}

TEST(Parity, QuestionsTogetherSelectAndWriteAsAlone) {
  const Configuration configuration{g_data->checkpoints()[0], 2};
  ParityRun run(*g_data, configuration.checkpoint, configuration.num_shards);
  std::vector<std::string> texts;
  for (const auto& question : g_data->golden()["questions"]) texts.push_back(question["text"]);
  const std::vector<RecordedRun> runs = run.RunTogether(texts, 16);
  for (size_t i = 0; i < runs.size(); ++i) {
    ASSERT_TRUE(runs[i].status.ok()) << runs[i].status;
    for (const auto& [layer, numbers] : g_data->golden()["questions"][i]["selected"].items()) {
      EXPECT_EQ(runs[i].rounds.at(0).selected.at(std::stoll(layer)),
                numbers.get<std::vector<uint32_t>>())
          << i;
    }
  }
}

// One forced run: what the model "writes" is the golden file's, and what it would have chosen
// itself is compared.
void CheckForcedRun(ParityRun* run, const nlohmann::json& forced, bool causal, int* compared) {
  const std::string name = forced["name"];
  SCOPED_TRACE(name + (causal ? ", causal answer block" : ", full answer block"));
  const int32_t eos = run->config().eos_token_ids.at(0);
  std::vector<int32_t> script;
  int32_t most = 1;
  for (const auto& round : forced["rounds"]) {
    auto fed = round["fed_ids"].get<std::vector<int32_t>>();
    if (causal && round.contains("fed_ids_causal_free_run")) {
      const auto& block = round["answer_block"];
      fed.resize(block["first"].get<size_t>() + block["count"].get<size_t>());
      for (int32_t id : round["fed_ids_causal_free_run"].get<std::vector<int32_t>>())
        fed.push_back(id);
    }
    for (size_t i = 0; i < fed.size(); ++i) {
      const bool in_block = round.contains("answer_block") &&
                            i >= round["answer_block"]["first"].get<size_t>() &&
                            i < round["answer_block"]["first"].get<size_t>() +
                                    round["answer_block"]["count"].get<size_t>();
      if (!in_block) script.push_back(fed[i]);
    }
    most = std::max(most, static_cast<int32_t>(fed.size()) + 2);
  }
  script.push_back(eos);
  const RecordedRun recorded = run->Run(forced["question_text"], script, most, most);
  ASSERT_TRUE(recorded.status.ok()) << recorded.status;
  ASSERT_EQ(recorded.rounds.size(), forced["rounds"].size());
  for (size_t r = 0; r < recorded.rounds.size(); ++r) {
    const auto& golden = forced["rounds"][r];
    const RecordedRound& round = recorded.rounds[r];
    const std::string key = "gen." + name + ".round" + std::to_string(r);
    CheckPrefill(run, key, golden, round);
    const bool has_block = golden.contains("answer_block");
    const size_t first = has_block ? golden["answer_block"]["first"].get<size_t>() : 0;
    const size_t count = has_block ? golden["answer_block"]["count"].get<size_t>() : 0;
    const int64_t last_layer = run->config().num_layers - 1;
    const auto prompt_rows = static_cast<int64_t>(round.token_ids.size());
    if (has_block) {
      const auto row = prompt_rows + static_cast<int64_t>(first + count) - 1;
      ExpectClose(key + (causal ? ".block_causal.hidden" : ".block_full.hidden"),
                  run->FinalNorm(round.hidden.at(last_layer).at(row)), kHiddenLimit);
    }
    std::map<size_t, nlohmann::json> expected;
    for (const auto& choice : golden["greedy_after"]) {
      if (!causal || !has_block || choice["fed"].get<size_t>() <= first)
        expected[choice["fed"]] = choice;
    }
    if (causal && has_block) {
      for (const auto& choice : golden["greedy_after_causal"]) expected[choice["fed"]] = choice;
    }
    for (const auto& [fed, choice] : expected) {
      if (choice["gap"].get<double>() <= kDecisiveGap) continue;
      // After `fed` tokens the last row is the prompt's last plus `fed`; every row's final state
      // was recorded.
      const auto& rows = round.hidden.at(last_layer);
      const auto at = rows.find(prompt_rows - 1 + static_cast<int64_t>(fed));
      if (at == rows.end()) {
        // The token that ends a round is not fed: its text is encoded again with the next prompt.
        EXPECT_EQ(golden["then"], "next_round") << key << " fed " << fed;
        EXPECT_EQ(fed, golden["fed_ids"].size()) << key;
        continue;
      }
      const std::vector<float> logits = run->Logits(at->second);
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      EXPECT_EQ(best, choice["id"].get<int64_t>()) << key << " fed " << fed;
      ++*compared;
    }
  }
}

void CheckForcedRuns(bool causal) {
  for (const Configuration& configuration : Configurations()) {
    SCOPED_TRACE(NameOf(configuration));
    const std::string checkpoint = CheckpointWith(
        configuration.checkpoint, {{"answer_block_mask", causal ? "causal" : "full"}}, "mask");
    ParityRun run(*g_data, checkpoint, configuration.num_shards);
    int compared = 0;
    for (const auto& forced : g_data->generation()["cases"])
      CheckForcedRun(&run, forced, causal, &compared);
    std::printf("%s, %s answer block: %d greedy tokens agree\n", NameOf(configuration).c_str(),
                causal ? "causal" : "full", compared);
    EXPECT_GT(compared, 0);
  }
}

TEST(Parity, ForcedRunsWithFullAnswerBlockEqualTheReference) { CheckForcedRuns(/*causal=*/false); }
TEST(Parity, ForcedRunsWithCausalAnswerBlockEqualTheReference) { CheckForcedRuns(/*causal=*/true); }

TEST(Parity, RoutingVariantsEqualTheReference) {
  if (g_data->variants().is_null()) {
    std::printf("no variants in %s\n", g_data->directory().c_str());
    return;
  }
  for (const Configuration& configuration : Configurations()) {
    for (const auto& variant : g_data->variants()["variants"]) {
      const std::string name = variant["name"];
      SCOPED_TRACE(NameOf(configuration) + ", " + name);
      nlohmann::json settings = variant["msa_config"];
      settings["similarity_rule"] = "literal";
      ParityRun run(*g_data, CheckpointWith(configuration.checkpoint, settings, name),
                    configuration.num_shards);
      const engine::ModelConfig& c = run.config();
      for (const auto& golden : variant["questions"]) {
        const auto q = golden["question"].get<size_t>();
        const RecordedRun recorded = run.Run(g_data->golden()["questions"][q]["text"], {}, 1, 1);
        ASSERT_TRUE(recorded.status.ok()) << recorded.status;
        const RecordedRound& round = recorded.rounds.at(0);
        const std::string key = name + ".q" + std::to_string(q);
        ASSERT_EQ(golden["selected"].size(), c.msa_layers.size());
        for (size_t i = 0; i < c.msa_layers.size(); ++i) {
          const int64_t layer = c.msa_layers[i];
          const std::string tensor = key + "." + LayerName(layer) + ".scores";
          const std::vector<float> expected = g_data->Tensor(tensor);
          double scale = 1;
          for (float value : expected)
            scale = std::max(scale, static_cast<double>(std::abs(value)));
          const std::vector<float> scores =
              run.Scores(static_cast<int>(i), round.router_query.at(static_cast<int>(i)));
          EXPECT_LE(LargestDifference(expected, scores) / scale, kScoreLimit) << tensor;
          EXPECT_EQ(round.selected.at(layer),
                    golden["selected"][std::to_string(layer)].get<std::vector<uint32_t>>())
              << tensor;
        }
        const auto last = static_cast<int64_t>(round.token_ids.size()) - 1;
        ExpectClose(key + ".hidden", run.FinalNorm(round.hidden.at(c.num_layers - 1).at(last)),
                    kHiddenLimit);
      }
    }
  }
}

TEST(Parity, TokenizerEqualsTheReference) {
  if (g_tokenizer_dir.empty()) {
    std::printf("no --tokenizer directory\n");
    return;
  }
  for (const char* file : {"tokenizer.json", "tokenizer-string-merges.json"}) {
    const auto tokenizer = engine::Tokenizer::Load(g_tokenizer_dir + "/" + file);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    std::ifstream vectors(g_tokenizer_dir + "/vectors.jsonl");
    int count = 0;
    for (std::string line; std::getline(vectors, line); ++count) {
      const auto vector = nlohmann::json::parse(line);
      const auto ids = vector["ids"].get<std::vector<int32_t>>();
      EXPECT_EQ((*tokenizer)->EncodeTemplate(vector["text"].get<std::string>()), ids) << line;
      EXPECT_EQ((*tokenizer)->Decode(ids, /*skip_special=*/false),
                vector["decoded"].get<std::string>())
          << line;
    }
    std::printf("%s: %d texts agree\n", file, count);
    EXPECT_GT(count, 0);
  }
}

}  // namespace
}  // namespace msa::parity

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  std::string golden;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--golden" && i + 1 < argc) {
      golden = argv[++i];
    } else if (flag == "--tokenizer" && i + 1 < argc) {
      msa::parity::g_tokenizer_dir = argv[++i];
    } else {
      std::fprintf(stderr,
                   "unknown argument %s\nusage: msa_parity_test --golden DIR [--tokenizer DIR]\n",
                   argv[i]);
      return 2;
    }
  }
  if (golden.empty()) {
    std::fprintf(stderr, "usage: msa_parity_test --golden DIR [--tokenizer DIR]\n");
    return 2;
  }
  while (golden.size() > 1 && golden.back() == '/') golden.pop_back();
  msa::parity::GoldenData data(golden);
  msa::parity::g_data = &data;
  return RUN_ALL_TESTS();
}
