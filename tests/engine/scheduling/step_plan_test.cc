#include "engine/scheduling/step_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace msa::engine {
namespace {

class NoPin : public BankPin {
 public:
  uint64_t revision() const override { return 7; }
};

ModelConfig Config() {
  ModelConfig config;
  config.hidden_size = 64;
  config.num_layers = 4;
  config.num_query_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.ffn_size = 128;
  config.msa_layers = {1, 3};
  return config;
}

void SetRows(int64_t rows, ForwardJob* job) {
  job->token_ids.resize(static_cast<size_t>(rows));
  for (int32_t i = 0; i < rows; ++i) job->visible.push_back(i + 1);
}

std::unique_ptr<Query> Prompt(const ModelConfig& config, int64_t rows, bool generate) {
  auto query = std::make_unique<Query>();
  query->pin = std::make_unique<NoPin>();
  if (generate) query->events = std::make_shared<EventQueue>(1 << 20, nullptr);
  query->rank = 0;
  query->state = Query::State::kPrefill;
  query->selections.resize(config.msa_layers.size());
  query->kv.memory.resize(config.msa_layers.size());
  SetRows(rows, &query->job);
  query->job.routes = true;
  query->job.routed_rows = {0, 1};
  query->job.last_layer_first_row = rows - 1;
  return query;
}

// Runs plans until the query's job is done and checks that every half layer covers its rows once,
// in order, with one routing exchange between the halves of an MSA layer.
void ExpectWholePrompt(const ModelConfig& config, Planner* planner, Query* query,
                       int64_t last_layer_first_row, int* num_steps) {
  int64_t layer = 0, row = 0;
  LayerPhase phase = LayerPhase::kProject;
  size_t routes = 0;
  bool routed = false;
  for (*num_steps = 0; !query->job_done; ++*num_steps) {
    ASSERT_LT(*num_steps, 1000);
    const StepPlan plan = planner->Plan({{query}}, {{}}, {});
    ASSERT_FALSE(plan.empty());
    for (const StepPlan::Stage& stage : plan.stages) {
      for (const Slice& slice : stage.slices[0]) {
        ASSERT_EQ(slice.at.layer, layer);
        ASSERT_EQ(slice.at.phase, phase);
        if (phase == LayerPhase::kAttend && layer == config.num_layers - 1)
          row = std::max(row, last_layer_first_row);
        if (phase == LayerPhase::kAttend && config.MsaIndex(layer) >= 0) {
          EXPECT_TRUE(routed);
        }
        ASSERT_EQ(slice.at.row, row);
        ASSERT_GT(slice.row_end, row);
        row = slice.row_end;
        if (row < query->job.num_rows()) continue;
        row = 0;
        routed = false;
        if (phase == LayerPhase::kAttend) ++layer;
        phase = phase == LayerPhase::kAttend ? LayerPhase::kProject : LayerPhase::kAttend;
      }
      ASSERT_LE(stage.routes.size(), 1u);
      if (stage.routes.empty()) continue;
      EXPECT_EQ(stage.routes[0].msa_index, static_cast<int>(routes++));
      EXPECT_EQ(stage.routes[0].revision, 7u);
      EXPECT_EQ(stage.routes[0].num_rows, 2);
      EXPECT_EQ(config.MsaIndex(layer), stage.routes[0].msa_index);
      routed = true;
    }
  }
  EXPECT_EQ(routes, config.msa_layers.size());
  const bool generate = query->events != nullptr;
  EXPECT_EQ(layer, generate ? config.num_layers : config.msa_layers.back());
}

TEST(Planner, APromptIsCoveredOnceWhateverTheBudget) {
  const ModelConfig config = Config();
  for (const int64_t rows : {1, 17, 300, 1000}) {
    for (const absl::Duration slice_time :
         {absl::Nanoseconds(1), absl::Milliseconds(1), absl::Seconds(10)}) {
      Planner planner(&config, 1, slice_time);
      const auto query = Prompt(config, rows, /*generate=*/true);
      int steps = 0;
      ExpectWholePrompt(config, &planner, query.get(), rows - 1, &steps);
      if (slice_time == absl::Seconds(10)) {
        EXPECT_EQ(steps, 1);
      }
      if (slice_time == absl::Nanoseconds(1) && rows == 1000) {
        EXPECT_GT(steps, 100);
      }
    }
  }
}

TEST(Planner, ARetrievalEndsWithItsLastRoutingAndFetchesNothingThere) {
  const ModelConfig config = Config();
  Planner planner(&config, 1, absl::Seconds(10));
  const auto query = Prompt(config, 40, /*generate=*/false);
  const StepPlan plan = planner.Plan({{query.get()}}, {{}}, {});
  EXPECT_TRUE(query->job_done);
  ASSERT_EQ(plan.stages.size(), 3u);
  EXPECT_NE(plan.stages[0].routes.at(0).memory, nullptr);
  EXPECT_EQ(plan.stages[1].routes.at(0).memory, nullptr);
  EXPECT_TRUE(plan.stages[2].routes.empty());
}

TEST(Planner, DocumentsSkipAttentionOfTheLastLayer) {
  const ModelConfig config = Config();
  Planner planner(&config, 1, absl::Seconds(10));
  EncodeJob job;
  SetRows(300, &job);
  const StepPlan plan = planner.Plan({{}}, {{&job}}, {});
  EXPECT_TRUE(job.finished);
  const std::vector<Slice>& slices = plan.stages.at(0).slices[0];
  EXPECT_TRUE(slices.back().completes_job);
  EXPECT_EQ(slices.back().at.layer, 3);
  EXPECT_EQ(slices.back().at.phase, LayerPhase::kProject);
  EXPECT_EQ(slices.back().row_end, 300);
}

TEST(Planner, EncodingGetsItsShareBesideALongPrompt) {
  const ModelConfig config = Config();
  Planner planner(&config, 1, absl::Milliseconds(1));
  const auto query = Prompt(config, 100000, /*generate=*/true);
  EncodeJob job;
  SetRows(100000, &job);
  double prompt = 0, encode = 0;
  for (int step = 0; step < 20; ++step) {
    const StepPlan plan = planner.Plan({{query.get()}}, {{&job}}, {});
    for (const StepPlan::Stage& stage : plan.stages) {
      for (const Slice& slice : stage.slices[0]) {
        (slice.encode != nullptr ? encode : prompt) += slice.row_layers;
      }
    }
  }
  EXPECT_GE(encode, 0.1 * (prompt + encode));
  EXPECT_GE(prompt, 0.5 * (prompt + encode));
}

void LearnOneMillisecondPerRowLayer(Planner* planner) {
  for (int i = 0; i < 100; ++i) planner->Learn(1, absl::Milliseconds(1));
}

TEST(Planner, PromptsGetAsMuchTimeAsALargeDecodeBatch) {
  const ModelConfig config = Config();
  Planner planner(&config, 1, absl::Milliseconds(10));
  LearnOneMillisecondPerRowLayer(&planner);  // 10 row-layers in 10 ms
  planner.LearnDecode(absl::Seconds(1));
  const auto query = Prompt(config, 10000, /*generate=*/true);
  const auto decoding = Prompt(config, 1, /*generate=*/true);
  const StepPlan plan = planner.Plan({{query.get()}}, {{}}, {decoding.get()});
  double planned = 0;
  for (const Slice& slice : plan.stages[0].slices[0]) planned += slice.row_layers;
  EXPECT_GE(planned, 900);
  EXPECT_LE(planned, 1300);
}

// What a step would do of 10,000 rows each of a prompt and a document beside an answer; 1 ms per
// row-layer.
double PlannedBesideAnAnswer(const ModelConfig& config, Planner* planner) {
  LearnOneMillisecondPerRowLayer(planner);
  const auto query = Prompt(config, 10000, /*generate=*/true);
  const auto decoding = Prompt(config, 1, /*generate=*/true);
  EncodeJob job;
  SetRows(10000, &job);
  const StepPlan plan = planner->Plan({{query.get()}}, {{&job}}, {decoding.get()});
  double planned = 0;
  for (const Slice& slice : plan.stages[0].slices[0]) planned += slice.row_layers;
  return planned;
}

TEST(Planner, WorkBesideAnAnswerTakesLessThanItsOwnTime) {
  const ModelConfig config = Config();
  Planner planner(&config, 1, absl::Milliseconds(10));
  planner.LearnDecode(absl::Seconds(1));
  EXPECT_LE(PlannedBesideAnAnswer(config, &planner), 1000);
}

TEST(Planner, OneSlowTokenDoesNotMakeTheNextOneSlow) {
  const ModelConfig config = Config();
  Planner planner(&config, 1, absl::Milliseconds(10));
  for (int i = 0; i < 10; ++i) planner.LearnDecode(absl::Milliseconds(200));
  planner.LearnDecode(absl::Milliseconds(400));
  EXPECT_LE(PlannedBesideAnAnswer(config, &planner), 300);
}

TEST(Planner, LateRowsOfALongJobMakeShorterSlices) {
  const ModelConfig config = Config();
  Planner planner(&config, 1, absl::Milliseconds(40));
  LearnOneMillisecondPerRowLayer(&planner);  // 40 row-layers a step
  EncodeJob job;
  SetRows(100000, &job);
  job.cursor = {0, LayerPhase::kAttend, 0};
  const auto rows_of_step = [&] {
    int64_t rows = 0;
    const StepPlan plan = planner.Plan({{}}, {{&job}}, {});
    for (const Slice& slice : plan.stages[0].slices[0]) rows += slice.row_end - slice.at.row;
    return rows;
  };
  const int64_t early = rows_of_step();
  job.cursor.row = 90000;
  const int64_t late = rows_of_step();
  EXPECT_LT(late, early);
  EXPECT_GT(late, 0);
}

// Late rows see very many others: where the least slice takes more than what is left of a step, it
// waits for the next one, where it is the first.
TEST(Planner, ALeastSliceThatDoesNotFitWaits) {
  const ModelConfig config = Config();
  for (int64_t first_row = 10; first_row < 100'000; first_row = first_row * 3 / 2) {
    Planner planner(&config, 1, absl::Milliseconds(40));
    LearnOneMillisecondPerRowLayer(&planner);  // 40 row-layers a step
    EncodeJob job;
    SetRows(200'000, &job);
    job.cursor = {0, LayerPhase::kAttend, first_row};
    const StepPlan plan = planner.Plan({{}}, {{&job}}, {});
    const std::vector<Slice>& slices = plan.stages[0].slices[0];
    ASSERT_FALSE(slices.empty());
    double planned = 0;
    for (const Slice& slice : slices) planned += slice.row_layers;
    EXPECT_LE(planned, std::max(slices[0].row_layers, 40.0)) << "from row " << first_row;
    EXPECT_EQ(job.cursor.row, slices.back().row_end);
  }
}

TEST(Planner, LearnsHowFastRowsGo) {
  const ModelConfig config = Config();
  Planner planner(&config, 1, absl::Milliseconds(10));
  LearnOneMillisecondPerRowLayer(&planner);  // 10 row-layers a step
  EncodeJob job;
  SetRows(10000, &job);
  double planned = 0;
  const StepPlan plan = planner.Plan({{}}, {{&job}}, {});
  for (const Slice& slice : plan.stages[0].slices[0]) planned += slice.row_layers;
  EXPECT_LT(planned, 20);
}

}  // namespace
}  // namespace msa::engine
