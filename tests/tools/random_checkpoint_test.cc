#include "tests/tools/random_checkpoint.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/model/model_config.h"
#include "engine/model/weights.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace msa::tools {
namespace {

namespace fs = std::filesystem;
using engine::ModelConfig;
using engine::Weights;
using kernels::ComputeDType;
using kernels::DType;

class RandomCheckpointTest : public testing::Test {
 protected:
  RandomCheckpointTest() {
    directory_ = (fs::temp_directory_path() / "msa_checkpoint_test_XXXXXX").string();
    if (::mkdtemp(directory_.data()) == nullptr) ADD_FAILURE() << directory_;
  }
  ~RandomCheckpointTest() override {
    std::error_code error;
    fs::remove_all(directory_, error);
  }

  RandomCheckpointOptions Tiny(const std::string& name) const {
    RandomCheckpointOptions options;
    options.geometry = "tiny";
    options.seed = 5;
    options.out = directory_ + "/" + name;
    return options;
  }
  static std::unique_ptr<Weights> Load(const std::string& path) {
    const auto config = engine::LoadModelConfig(path);
    EXPECT_TRUE(config.ok()) << config.status();
    if (!config.ok()) return nullptr;
    auto weights = Weights::Load(path, *config, ComputeDType::kF32);
    EXPECT_TRUE(weights.ok()) << weights.status();
    return weights.ok() ? *std::move(weights) : nullptr;
  }
  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  std::string directory_;
};

TEST_F(RandomCheckpointTest, TheTinyModelHasTheGoldenModelsShape) {
  ASSERT_TRUE(WriteRandomCheckpoint(Tiny("m")).ok());
  const auto written = engine::LoadModelConfig(directory_ + "/m");
  const auto golden = engine::LoadModelConfig(MSA_TEST_DATA "/tiny-a/checkpoint");
  ASSERT_TRUE(written.ok()) << written.status();
  ASSERT_TRUE(golden.ok()) << golden.status();
  EXPECT_EQ(written->hidden_size, golden->hidden_size);
  EXPECT_EQ(written->num_layers, golden->num_layers);
  EXPECT_EQ(written->head_dim, golden->head_dim);
  EXPECT_EQ(written->vocab_size, golden->vocab_size);
  EXPECT_EQ(written->msa_layers, golden->msa_layers);
  EXPECT_EQ(written->doc_top_k, golden->doc_top_k);
  EXPECT_EQ(written->eos_token_ids, golden->eos_token_ids);
  EXPECT_NE(Load(directory_ + "/m"), nullptr);
}

TEST_F(RandomCheckpointTest, MatricesHaveDeviationOneFiftiethAndNormsAreOne) {
  RandomCheckpointOptions options = Tiny("m");
  options.dtype = DType::kF32;
  ASSERT_TRUE(WriteRandomCheckpoint(options).ok());
  const auto weights = Load(options.out);
  ASSERT_NE(weights, nullptr);
  const auto* values = static_cast<const float*>(weights->embedding.data);
  const int64_t count = weights->embedding.rows * weights->embedding.columns;
  double sum = 0;
  double squares = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += values[i];
    squares += double{values[i]} * values[i];
  }
  EXPECT_NEAR(sum / static_cast<double>(count), 0.0, 3e-4);
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(count)), 0.02, 2e-4);
  EXPECT_EQ(weights->final_norm.data[63], 1.0f);
  EXPECT_EQ(weights->layers[3].query_norm.data[0], 1.0f);
}

TEST_F(RandomCheckpointTest, ShardsHoldTheSameModel) {
  ASSERT_TRUE(WriteRandomCheckpoint(Tiny("one")).ok());
  RandomCheckpointOptions sharded = Tiny("three");
  sharded.num_shards = 3;
  ASSERT_TRUE(WriteRandomCheckpoint(sharded).ok());
  EXPECT_TRUE(fs::exists(sharded.out + "/model-00003-of-00003.safetensors"));
  EXPECT_EQ(Load(directory_ + "/one")->fingerprint, Load(sharded.out)->fingerprint);
}

TEST_F(RandomCheckpointTest, TheSeedDecidesTheNumbers) {
  ASSERT_TRUE(WriteRandomCheckpoint(Tiny("a")).ok());
  ASSERT_TRUE(WriteRandomCheckpoint(Tiny("b")).ok());
  RandomCheckpointOptions other = Tiny("c");
  other.seed = 6;
  ASSERT_TRUE(WriteRandomCheckpoint(other).ok());
  const auto file = [&](const char* name) {
    return Read(directory_ + "/" + name + "/model.safetensors");
  };
  EXPECT_EQ(file("a"), file("b"));
  EXPECT_NE(file("a"), file("c"));
}

TEST_F(RandomCheckpointTest, EveryDTypeRoundsTheSameNumbers) {
  std::vector<std::unique_ptr<Weights>> models;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    RandomCheckpointOptions options = Tiny(std::string(NameOf(dtype)));
    options.dtype = dtype;
    ASSERT_TRUE(WriteRandomCheckpoint(options).ok());
    models.push_back(Load(options.out));
    ASSERT_NE(models.back(), nullptr);
  }
  const auto* exact = static_cast<const float*>(models[0]->embedding.data);
  const auto* f16 = static_cast<const float*>(models[1]->embedding.data);
  const auto* bf16 = static_cast<const kernels::BF16*>(models[2]->embedding.data);
  for (int64_t i = 0; i < models[0]->embedding.rows * 64; ++i) {
    ASSERT_NEAR(f16[i], exact[i], std::max(std::abs(exact[i]) * 0x1p-11f, 0x1p-25f)) << i;
    ASSERT_EQ(bf16[i].bits, kernels::ToBF16(exact[i]).bits) << i;
  }
}

TEST_F(RandomCheckpointTest, TheTokenizerIsCopiedAndGivesTheEosIds) {
  RandomCheckpointOptions options = Tiny("m");
  options.tokenizer = MSA_TEST_DATA "/tiny-a/checkpoint";
  ASSERT_TRUE(WriteRandomCheckpoint(options).ok());
  EXPECT_EQ(Read(options.out + "/tokenizer.json"), Read(options.tokenizer + "/tokenizer.json"));
  EXPECT_TRUE(fs::exists(options.out + "/tokenizer_config.json"));
  EXPECT_THAT(engine::LoadModelConfig(options.out)->eos_token_ids,
              testing::ElementsAre(2002, 2000));
}

TEST_F(RandomCheckpointTest, BadRequestsAreRefused) {
  RandomCheckpointOptions options = Tiny("m");
  options.geometry = "7b";
  EXPECT_TRUE(absl::IsInvalidArgument(WriteRandomCheckpoint(options)));
  options = Tiny("m");
  options.num_shards = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(WriteRandomCheckpoint(options)));
  options = Tiny("m");
  options.tokenizer = MSA_TEST_DATA "/tiny-a/checkpoint/config.json";
  EXPECT_TRUE(absl::IsInvalidArgument(WriteRandomCheckpoint(options)));
  ASSERT_TRUE(WriteRandomCheckpoint(Tiny("n")).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(WriteRandomCheckpoint(Tiny("n"))));
}

}  // namespace
}  // namespace msa::tools
