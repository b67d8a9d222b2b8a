#include "engine/model/model_config.h"

#include <cmath>
#include <filesystem>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_fixture.h"

namespace msa::engine {
namespace {

using kernels::ChunkReduce;
using kernels::HeadReduce;
using kernels::QueryReduce;
using nlohmann::json;
using testing::ElementsAre;

absl::StatusOr<ModelConfig> Parse(const json& config) {
  return ParseModelConfig(config.dump(), "", "dir");
}

json With(const std::string& key, const json& value) {
  json config = SmallConfigJson();
  config[key] = value;
  return config;
}

json WithMsa(const std::string& key, const json& value) {
  json config = SmallConfigJson();
  config["msa_config"][key] = value;
  return config;
}

json Without(const std::string& key) {
  json config = SmallConfigJson();
  if (config.erase(key) == 0) config["msa_config"].erase(key);
  return config;
}

TEST(ModelConfigTest, ReadsTheGoldenModel) {
  const auto config = LoadModelConfig(MSA_TEST_DATA "/tiny-a/checkpoint");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "tiny-a");
  EXPECT_EQ(config->hidden_size, 64);
  EXPECT_EQ(config->num_layers, 4);
  EXPECT_EQ(config->num_query_heads, 8);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->ffn_size, 128);
  EXPECT_EQ(config->vocab_size, 2048);
  EXPECT_EQ(config->max_positions, 32768);
  EXPECT_EQ(config->rms_epsilon, 1e-6f);
  EXPECT_EQ(config->rope_theta, 1e4);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_THAT(config->eos_token_ids, ElementsAre(2002, 2000));
  EXPECT_THAT(config->msa_layers, ElementsAre(2, 3));
  EXPECT_EQ(config->tokens_per_chunk, 16);
  EXPECT_EQ(config->doc_top_k, 4);
  EXPECT_TRUE(config->decouple_router);
  EXPECT_TRUE(config->cosine);
  EXPECT_EQ(config->head_reduce, HeadReduce::kMean);
  EXPECT_EQ(config->query_reduce, QueryReduce::kMax);
  EXPECT_EQ(config->chunk_reduce, ChunkReduce::kMax);
  EXPECT_EQ(config->answer_block_mask, AnswerBlockMask::kFull);
  EXPECT_EQ(config->query_width(), 128);
  EXPECT_EQ(config->kv_width(), 32);
  EXPECT_EQ(config->MsaIndex(0), -1);
  EXPECT_EQ(config->MsaIndex(2), 0);
  EXPECT_EQ(config->MsaIndex(3), 1);
  EXPECT_EQ(config->MsaIndex(4), -1);
  EXPECT_EQ(config->score_scale(), 1.0f);
}

TEST(ModelConfigTest, AbsentKeysMeanTheirDocumentedDefaults) {
  json config = SmallConfigJson();
  for (const char* key : {"head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta",
                          "tie_word_embeddings", "eos_token_id"}) {
    config.erase(key);
  }
  config["msa_config"] = {
      {"router_layer_idx", "all"}, {"decouple_router", false}, {"head_reduce_method", "max"}};
  const auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->head_dim, 2);  // 8 / 4
  EXPECT_EQ(parsed->max_positions, 32768);
  EXPECT_EQ(parsed->rms_epsilon, 1e-6f);
  EXPECT_EQ(parsed->rope_theta, 10000.0);
  EXPECT_FALSE(parsed->tied_embeddings);
  EXPECT_TRUE(parsed->eos_token_ids.empty());
  EXPECT_THAT(parsed->msa_layers, ElementsAre(0, 1));
  EXPECT_EQ(parsed->tokens_per_chunk, 64);
  EXPECT_EQ(parsed->doc_top_k, 16);
  EXPECT_TRUE(parsed->cosine);
  EXPECT_EQ(parsed->query_reduce, QueryReduce::kMax);
  EXPECT_EQ(parsed->chunk_reduce, ChunkReduce::kMax);
  EXPECT_EQ(parsed->answer_block_mask, AnswerBlockMask::kFull);
}

TEST(ModelConfigTest, NullCountsAsAbsent) {
  json config = With("head_dim", nullptr);
  config["rope_scaling"] = nullptr;
  config["quantization_config"] = nullptr;
  const auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->head_dim, 2);
}

TEST(ModelConfigTest, UnknownKeysAndTrainingsTopKAreIgnored) {
  json config = WithMsa("top_k_docs", 99);
  config["something_new"] = {1, 2, 3};
  config["msa_config"]["infonce_loss_temp"] = "whatever";
  const auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->doc_top_k, 3);
}

TEST(ModelConfigTest, ReadsEveryRoutingChoice) {
  EXPECT_EQ(Parse(WithMsa("head_reduce_method", "max"))->head_reduce, HeadReduce::kMax);
  EXPECT_EQ(Parse(WithMsa("query_reduce_method", "mean"))->query_reduce, QueryReduce::kMean);
  EXPECT_EQ(Parse(WithMsa("query_reduce_method", "last"))->query_reduce, QueryReduce::kLast);
  EXPECT_EQ(Parse(WithMsa("chunk_reduce_method", "mean"))->chunk_reduce, ChunkReduce::kMean);
  EXPECT_EQ(Parse(WithMsa("answer_block_mask", "causal"))->answer_block_mask,
            AnswerBlockMask::kCausal);
  EXPECT_FALSE(Parse(WithMsa("decouple_router", false))->decouple_router);
}

TEST(ModelConfigTest, CosineFollowsTheNameOfTheLossAndTheRule) {
  const auto cosine = [](const std::string& method, const std::string& rule) {
    json config = WithMsa("aux_loss_method", method);
    if (!rule.empty()) config["msa_config"]["similarity_rule"] = rule;
    return Parse(config)->cosine;
  };
  EXPECT_TRUE(cosine("INFONCE", ""));
  EXPECT_TRUE(cosine("INFONCE_DECOUPLE", ""));
  EXPECT_TRUE(cosine("INFONCE_DECOUPLE", "contains"));
  EXPECT_FALSE(cosine("BCE", ""));
  EXPECT_TRUE(cosine("INFONCE", "literal"));
  EXPECT_FALSE(cosine("INFONCE_DECOUPLE", "literal"));
}

TEST(ModelConfigTest, OnlyCosineWithItsOwnRouterIsUnscaled) {
  json config = SmallConfigJson();
  EXPECT_EQ(Parse(config)->score_scale(), 1.0f);
  config["msa_config"]["decouple_router"] = false;
  EXPECT_EQ(Parse(config)->score_scale(), 0.5f);  // D = 4
  config["msa_config"]["aux_loss_method"] = "BCE";
  EXPECT_EQ(Parse(config)->score_scale(), 0.5f);
  config["msa_config"]["decouple_router"] = true;
  EXPECT_EQ(Parse(config)->score_scale(), 0.5f);
}

TEST(ModelConfigTest, MsaLayersAreSortedAndMayHaveSpaces) {
  json config = WithMsa("router_layer_idx", " 7, 2 ,4");
  config["num_hidden_layers"] = 8;
  EXPECT_THAT(Parse(config)->msa_layers, ElementsAre(2, 4, 7));
}

TEST(ModelConfigTest, MsaLayersThatMakeNoSenseAreRefused) {
  for (const json& value :
       {json(""), json("1,"), json("1,1"), json("2"), json("-1"), json("one"), json("1;0"), json(1),
        json({0, 1}), json("99999999999999999999"), json("ALL")}) {
    SCOPED_TRACE(value.dump());
    ExpectError(
        Parse(WithMsa("router_layer_idx", value)).status(),
        {"dir/config.json", "msa_config.router_layer_idx is " + value.dump(), "from 0 to 1"});
  }
}

TEST(ModelConfigTest, EosIsOneIdOrAList) {
  EXPECT_THAT(Parse(With("eos_token_id", 5))->eos_token_ids, ElementsAre(5));
  EXPECT_THAT(Parse(With("eos_token_id", {5, 31}))->eos_token_ids, ElementsAre(5, 31));
  for (const json& value :
       {json(-1), json(32), json("2"), json({1, 32}), json({1.5}), json(true), json({{"a", 1}})}) {
    SCOPED_TRACE(value.dump());
    ExpectError(Parse(With("eos_token_id", value)).status(),
                {"dir/config.json: eos_token_id is " + value.dump(), "from 0 to 31"});
  }
}

TEST(ModelConfigTest, GenerationConfigDecidesTheEosIds) {
  const std::string config = SmallConfigJson().dump();
  EXPECT_THAT(ParseModelConfig(config, R"({"eos_token_id": [7, 8]})", "dir")->eos_token_ids,
              ElementsAre(7, 8));
  EXPECT_THAT(ParseModelConfig(config, R"({"do_sample": false})", "dir")->eos_token_ids,
              ElementsAre(2));
  ExpectError(ParseModelConfig(config, R"({"eos_token_id": 32})", "dir").status(),
              {"dir/generation_config.json: eos_token_id is 32"});
  ExpectError(ParseModelConfig(config, "{", "dir").status(),
              {"dir/generation_config.json: not valid JSON"});
}

TEST(ModelConfigTest, RopeThetaMayStandInRopeParameters) {
  json config = Without("rope_theta");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e6}};
  EXPECT_EQ(Parse(config)->rope_theta, 5e6);
  config["rope_theta"] = 1e4;
  ExpectError(Parse(config).status(),
              {"rope_theta is 10000.0", "rope_parameters.rope_theta says 5e+06"});
  config["rope_parameters"]["rope_type"] = "yarn";
  ExpectError(Parse(config).status(), {"rope_parameters.rope_type is \"yarn\""});
}

TEST(ModelConfigTest, UnsupportedArithmeticIsRefusedByName) {
  const std::pair<std::string, json> cases[] = {
      {"rope_scaling", {{"type", "yarn"}, {"factor", 4.0}}},
      {"attention_bias", true},
      {"mlp_bias", true},
      {"use_sliding_window", true},
      {"hidden_act", "gelu"},
      {"partial_rotary_factor", 0.5},
      {"quantization_config", {{"bits", 4}}},
      {"layer_types", {"full_attention", "sliding_attention"}},
  };
  for (const auto& [key, value] : cases) {
    ExpectError(Parse(With(key, value)).status(),
                {"dir/config.json: " + key + " is " + value.dump(), "supported: "});
  }
  ExpectError(Parse(WithMsa("decouple_pooling_mode", "max")).status(),
              {"msa_config.decouple_pooling_mode is \"max\"", "supported: \"mean\""});
  EXPECT_TRUE(Parse(With("layer_types", {"full_attention", "full_attention"})).ok());
}

TEST(ModelConfigTest, UnknownChoicesAreRefusedWithTheKnownOnes) {
  const std::pair<std::string, std::string> cases[] = {
      {"head_reduce_method", "allowed: \"mean\", \"max\""},
      {"query_reduce_method", "allowed: \"max\", \"mean\", \"last\""},
      {"chunk_reduce_method", "allowed: \"max\", \"mean\""},
      {"answer_block_mask", "allowed: \"full\", \"causal\""},
      {"similarity_rule", "allowed: \"contains\", \"literal\""},
  };
  for (const auto& [key, allowed] : cases) {
    ExpectError(Parse(WithMsa(key, "sum")).status(),
                {"msa_config." + key + " is \"sum\"", allowed});
    ExpectError(Parse(WithMsa(key, 1)).status(), {"msa_config." + key + " is 1", allowed});
  }
}

TEST(ModelConfigTest, RequiredKeysAreNamedWhenMissing) {
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "intermediate_size", "vocab_size", "msa_config"}) {
    ExpectError(Parse(Without(key)).status(),
                {std::string("dir/config.json: ") + key + " is missing"});
  }
  for (const char* key : {"router_layer_idx", "decouple_router", "head_reduce_method"}) {
    ExpectError(Parse(Without(key)).status(), {std::string("msa_config.") + key + " is missing"});
  }
}

TEST(ModelConfigTest, SizesOutsideTheirLimitsAreRefused) {
  for (const char* key :
       {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "head_dim", "intermediate_size", "vocab_size", "max_position_embeddings"}) {
    for (const json& value : {json(0), json(-8), json(int64_t{1} << 40), json(UINT64_MAX),
                              json(8.5), json("8"), json(true)}) {
      ExpectError(Parse(With(key, value)).status(),
                  {std::string(key) + " is " + value.dump(), "allowed"});
    }
  }
  for (const json& value : {json(0), json(-1), json(1 << 20), json("64")}) {
    ExpectError(Parse(WithMsa("pooling_kernel_size", value)).status(),
                {"msa_config.pooling_kernel_size is " + value.dump()});
    ExpectError(Parse(WithMsa("doc_top_k", value)).status(),
                {"msa_config.doc_top_k is " + value.dump(), "1 to 1024"});
  }
  for (const json& value : {json(0), json(-1e-6), json(1), json("1e-6"), json(1e-300)}) {
    ExpectError(Parse(With("rms_norm_eps", value)).status(), {"rms_norm_eps is " + value.dump()});
  }
  for (const json& value : {json(0), json(-1), json(1e300), json("1e4")}) {
    ExpectError(Parse(With("rope_theta", value)).status(), {"rope_theta is " + value.dump()});
  }
}

TEST(ModelConfigTest, HeadsMustFitEachOther) {
  ExpectError(Parse(With("num_key_value_heads", 3)).status(),
              {"num_key_value_heads is 3", "divisor of num_attention_heads, 4"});
  ExpectError(Parse(With("num_key_value_heads", 8)).status(), {"num_key_value_heads is 8"});
  ExpectError(Parse(With("head_dim", 5)).status(), {"head_dim is 5", "even"});
  ExpectError(Parse(With("head_dim", 258)).status(), {"head_dim is 258", "256"});
  json odd = Without("head_dim");
  odd["hidden_size"] = 12;
  ExpectError(Parse(odd).status(),
              {"head_dim is missing", "hidden_size / num_attention_heads is 3"});
  odd["hidden_size"] = 10;
  ExpectError(Parse(odd).status(), {"head_dim is missing", "does not divide hidden_size, 10"});
}

TEST(ModelConfigTest, TextThatIsNoObjectIsRefused) {
  for (const std::string text :
       {"", "{", "[]", "null", "17", "{\"a\": 1e999}", "{\"a\": \"\xff\"}", "{} {}"}) {
    SCOPED_TRACE(text);
    ExpectError(ParseModelConfig(text, "", "dir").status(), {"dir/config.json: "});
  }
  ExpectError(ParseModelConfig(R"({"hidden_size": 8, "hidden_size": 16})", "", "dir").status(),
              {"key \"hidden_size\" occurs twice"});
  ExpectError(
      ParseModelConfig(R"({"a": )" + std::string(100000, '[') + std::string(100000, ']') + "}", "",
                       "dir")
          .status(),
      {"nested deeper"});
}

TEST(ModelConfigTest, MissingFilesAreNotFoundExceptTheGenerationConfig) {
  const TemporaryDirectory directory;
  ExpectError(LoadModelConfig(directory.path()).status(), {directory.path() + "/config.json"},
              absl::StatusCode::kNotFound);
  WriteText(directory.File("config.json"), SmallConfigJson().dump());
  const auto config = LoadModelConfig(directory.path() + "/.");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(directory.path().substr(directory.path().rfind('/') + 1), config->name);
  std::filesystem::create_directory(directory.File("generation_config.json"));
  ExpectError(LoadModelConfig(directory.path()).status(),
              {"generation_config.json", "not a regular file"});
}

TEST(ModelConfigTest, DamagedTextNeverCrashes) {
  const std::string good = SmallConfigJson().dump();
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    for (int i = 0; i < 3; ++i) text[random() % text.size()] = static_cast<char>(random());
    if (round % 3 == 0) text.resize(random() % text.size());
    const absl::Status status = ParseModelConfig(text, "", "dir").status();
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  }
}

}  // namespace
}  // namespace msa::engine
