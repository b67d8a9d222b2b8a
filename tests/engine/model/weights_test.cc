#include "engine/model/weights.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>
#include <tuple>

#include "engine/model/checkpoint.h"
#include "engine/model/fingerprint.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_fixture.h"

namespace msa::engine {
namespace {

using kernels::BF16;
using kernels::ComputeDType;
using kernels::DType;
using kernels::MatrixView;

constexpr char kEmbedding[] = "model.embed_tokens.weight";
constexpr char kGolden[] = MSA_TEST_DATA "/tiny-a/checkpoint";
constexpr char kGoldenSharded[] = MSA_TEST_DATA "/tiny-a/checkpoint-sharded";

std::vector<float> Values(const MatrixView& view) {
  std::vector<float> values;
  for (int64_t i = 0; i < view.rows * view.columns; ++i) {
    values.push_back(view.dtype == DType::kF32 ? static_cast<const float*>(view.data)[i]
                                               : ToF32(static_cast<const BF16*>(view.data)[i]));
  }
  return values;
}

std::vector<float> Values(const kernels::TensorView<const float, 1>& view) {
  return std::vector<float>(view.data, view.data + view.size());
}

// Every tensor in the order of LayerWeights.
std::vector<std::vector<float>> AllValues(const Weights& weights) {
  std::vector<std::vector<float>> all = {Values(weights.embedding), Values(weights.lm_head),
                                         Values(weights.final_norm)};
  for (const LayerWeights& layer : weights.layers) {
    for (const auto& norm :
         {layer.input_norm, layer.post_attention_norm, layer.query_norm, layer.key_norm}) {
      all.push_back(Values(norm));
    }
    for (const auto& matrix : {layer.query, layer.key, layer.value, layer.output, layer.gate,
                               layer.up, layer.down, layer.router_query, layer.router_key}) {
      all.push_back(Values(matrix));
    }
  }
  return all;
}

std::vector<float> SmallValues(const std::string& name, size_t count) {
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) values.push_back(SmallValue(name, static_cast<int64_t>(i)));
  return values;
}

class WeightsTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Weights>> Load(const std::vector<FileTensor>& tensors,
                                                ComputeDType compute,
                                                const ModelConfig& config = SmallConfig(),
                                                bool pad_header = true) {
    WriteText(directory_.File("model.safetensors"), SafetensorsText(tensors, pad_header));
    return Weights::Load(directory_.path(), config, compute);
  }
  std::string Fingerprint(const std::vector<FileTensor>& tensors,
                          const ModelConfig& config = SmallConfig()) {
    const auto weights = Load(tensors, ComputeDType::kF32, config);
    EXPECT_TRUE(weights.ok()) << weights.status();
    return weights.ok() ? (*weights)->fingerprint : "";
  }

  TemporaryDirectory directory_;
};

TEST_F(WeightsTest, EveryTensorComesToItsPlace) {
  ModelConfig config = SmallConfig();
  config.tied_embeddings = false;
  const auto loaded = Load(SmallTensors("BF16", config), ComputeDType::kF32, config);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Weights& weights = **loaded;
  const auto expect_matrix = [&](const MatrixView& view, const std::string& name, int64_t rows,
                                 int64_t columns) {
    EXPECT_EQ(view.rows, rows) << name;
    EXPECT_EQ(view.columns, columns) << name;
    EXPECT_EQ(Values(view), SmallValues(name, static_cast<size_t>(rows * columns))) << name;
  };
  const auto expect_vector = [&](const kernels::TensorView<const float, 1>& view,
                                 const std::string& name, size_t size) {
    EXPECT_EQ(Values(view), SmallValues(name, size)) << name;
  };
  expect_matrix(weights.embedding, kEmbedding, 32, 8);
  expect_matrix(weights.lm_head, "lm_head.weight", 32, 8);
  expect_vector(weights.final_norm, "model.norm.weight", 8);
  ASSERT_EQ(weights.layers.size(), 2u);
  for (int64_t l = 0; l < 2; ++l) {
    const LayerWeights& layer = weights.layers[static_cast<size_t>(l)];
    expect_vector(layer.input_norm, LayerTensorName(l, "input_layernorm"), 8);
    expect_vector(layer.post_attention_norm, LayerTensorName(l, "post_attention_layernorm"), 8);
    expect_vector(layer.query_norm, LayerTensorName(l, "self_attn.q_norm"), 4);
    expect_vector(layer.key_norm, LayerTensorName(l, "self_attn.k_norm"), 4);
    expect_matrix(layer.query, LayerTensorName(l, "self_attn.q_proj"), 16, 8);
    expect_matrix(layer.key, LayerTensorName(l, "self_attn.k_proj"), 8, 8);
    expect_matrix(layer.value, LayerTensorName(l, "self_attn.v_proj"), 8, 8);
    expect_matrix(layer.output, LayerTensorName(l, "self_attn.o_proj"), 8, 16);
    expect_matrix(layer.gate, LayerTensorName(l, "mlp.gate_proj"), 16, 8);
    expect_matrix(layer.up, LayerTensorName(l, "mlp.up_proj"), 16, 8);
    expect_matrix(layer.down, LayerTensorName(l, "mlp.down_proj"), 8, 16);
  }
  EXPECT_EQ(weights.layers[0].router_query.rows, 0);
  EXPECT_EQ(weights.layers[0].router_key.rows, 0);
  expect_matrix(weights.layers[1].router_query, LayerTensorName(1, "self_attn.router_q_proj.0"), 16,
                8);
  expect_matrix(weights.layers[1].router_key, LayerTensorName(1, "self_attn.router_k_proj.0"), 8,
                8);
}

TEST_F(WeightsTest, TheFilesAreNotNeededOnceTheyAreLoaded) {
  const auto weights = Load(SmallTensors("BF16"), ComputeDType::kBF16);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const auto bytes = [&] {
    const kernels::MatrixView& down = (*weights)->layers[0].down;
    const auto* const data = static_cast<const char*>(down.data);
    return std::string(data, static_cast<size_t>(down.rows * down.columns) * SizeOf(down.dtype));
  };
  const std::string before = bytes();
  std::filesystem::resize_file(directory_.File("model.safetensors"), 0);  // not even a page is left
  EXPECT_EQ(bytes(), before);
}

TEST_F(WeightsTest, TiedModelsUseTheEmbeddingAsHead) {
  const auto weights = Load(SmallTensors("BF16"), ComputeDType::kF32);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ((*weights)->lm_head.data, (*weights)->embedding.data);
  EXPECT_EQ((*weights)->lm_head.rows, 32);
}

TEST_F(WeightsTest, MatricesHaveTheDTypeThatFileAndComputeDecide) {
  const std::tuple<std::string, ComputeDType, DType> cases[] = {
      {"BF16", ComputeDType::kF32, DType::kBF16}, {"F16", ComputeDType::kF32, DType::kF32},
      {"F32", ComputeDType::kF32, DType::kF32},   {"BF16", ComputeDType::kBF16, DType::kBF16},
      {"F16", ComputeDType::kBF16, DType::kBF16}, {"F32", ComputeDType::kBF16, DType::kBF16},
  };
  const auto reference = Load(SmallTensors("F32"), ComputeDType::kF32);
  ASSERT_TRUE(reference.ok()) << reference.status();
  const auto expected = AllValues(**reference);
  for (const auto& [file, compute, dtype] : cases) {
    SCOPED_TRACE(file);
    const auto weights = Load(SmallTensors(file), compute);
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ((*weights)->embedding.dtype, dtype);
    EXPECT_EQ((*weights)->layers[1].router_key.dtype, dtype);
    EXPECT_EQ(AllValues(**weights), expected);  // the values are exact in all three
  }
}

TEST_F(WeightsTest, EveryAlignmentOfTheDataGivesTheSameNumbers) {
  for (const std::string dtype : {"BF16", "F16", "F32"}) {
    for (const ComputeDType compute : {ComputeDType::kF32, ComputeDType::kBF16}) {
      const auto aligned = Load(SmallTensors(dtype), compute);
      const auto shifted = Load(SmallTensors(dtype), compute, SmallConfig(), /*pad_header=*/false);
      ASSERT_TRUE(aligned.ok()) << aligned.status();
      ASSERT_TRUE(shifted.ok()) << shifted.status();
      EXPECT_EQ(AllValues(**aligned), AllValues(**shifted));
      EXPECT_EQ((*aligned)->fingerprint, (*shifted)->fingerprint);
      EXPECT_EQ(reinterpret_cast<uintptr_t>((*shifted)->embedding.data) %
                    SizeOf((*shifted)->embedding.dtype),
                0u);
    }
  }
}

TEST_F(WeightsTest, F32IsRoundedToNearestEvenUnderBf16) {
  std::vector<FileTensor> tensors = SmallTensors("F32");
  std::vector<float> values(32 * 8, 0.0f);
  values[0] = 1.0f + 0x1p-8f;             // half-way, down to even
  values[1] = 1.0f + 3 * 0x1p-8f;         // half-way, up to even
  values[2] = 1.0f + 0x1p-8f + 0x1p-20f;  // above half-way
  values[3] = -0x1p-140f;                 // a subnormal that bf16 cannot hold: rounds to -0
  Named(tensors, kEmbedding).bytes = Encode(values, "F32");
  const auto weights = Load(tensors, ComputeDType::kBF16);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const std::vector<float> rounded = Values((*weights)->embedding);
  EXPECT_EQ(rounded[0], 1.0f);
  EXPECT_EQ(rounded[1], 1.0f + 0x1p-6f);
  EXPECT_EQ(rounded[2], 1.0f + 0x1p-7f);
  EXPECT_EQ(rounded[3], 0.0f);
  EXPECT_TRUE(std::signbit(rounded[3]));
}

TEST_F(WeightsTest, F16IsWidenedExactly) {
  std::vector<FileTensor> tensors = SmallTensors("F16");
  std::vector<float> values(32 * 8, 0.0f);
  values[0] = 0x1p-24f;       // the smallest subnormal
  values[1] = -0x1.ff8p-15f;  // the largest subnormal
  values[2] = 0x1p-14f;       // the smallest normal
  values[3] = 65504.0f;       // the largest
  values[4] = 1.0f + 0x1p-10f;
  values[5] = -0.0f;
  Named(tensors, kEmbedding).bytes = Encode(values, "F16");
  const auto weights = Load(tensors, ComputeDType::kF32);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(Values((*weights)->embedding), values);
  EXPECT_TRUE(std::signbit(Values((*weights)->embedding)[5]));
}

TEST_F(WeightsTest, AValueTooLargeForBf16IsRefusedUnderBf16Only) {
  std::vector<FileTensor> tensors = SmallTensors("F32");
  std::vector<float> values(32 * 8, 0.0f);
  values[9] = std::numeric_limits<float>::max();
  Named(tensors, kEmbedding).bytes = Encode(values, "F32");
  ExpectError(
      Load(tensors, ComputeDType::kBF16).status(),
      {directory_.File("model.safetensors"), kEmbedding, "element 9 is too large for bf16"});
  EXPECT_TRUE(Load(tensors, ComputeDType::kF32).ok());
}

TEST_F(WeightsTest, NaNAndInfinityAreRefusedWithTheirPlace) {
  const std::pair<std::string, std::vector<std::string>> cases[] = {
      {"BF16", {"\x80\x7f", "\x80\xff", "\xc0\x7f", "\x81\xff"}},
      {"F16",
       {std::string("\0\x7c", 2), std::string("\0\xfc", 2), std::string("\0\x7e", 2), "\x01\xfc"}},
      {"F32",
       {std::string("\0\0\x80\x7f", 4), std::string("\0\0\x80\xff", 4),
        std::string("\0\0\xc0\x7f", 4)}},
  };
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  for (const auto& [dtype, patterns] : cases) {
    for (const std::string& pattern : patterns) {
      std::vector<FileTensor> tensors = SmallTensors(dtype);
      Named(tensors, name).bytes.replace(77 * pattern.size(), pattern.size(), pattern);
      ExpectError(Load(tensors, ComputeDType::kF32).status(),
                  {directory_.File("model.safetensors"), name, "element 77 is NaN or infinite"});
    }
  }
}

TEST_F(WeightsTest, ANaNInATensorThatNobodyReadsIsIgnored) {
  std::vector<FileTensor> tensors = SmallTensors("BF16");
  tensors.push_back({"temperature", "BF16", {}, "\xc0\x7f"});
  EXPECT_TRUE(Load(tensors, ComputeDType::kF32).ok());
}

TEST_F(WeightsTest, FingerprintDependsOnEveryTensor) {
  const std::vector<FileTensor> tensors = SmallTensors("BF16");
  const std::string original = Fingerprint(tensors);
  EXPECT_THAT(original, testing::MatchesRegex("[0-9a-f]{32}"));
  EXPECT_EQ(original, Fingerprint(tensors));
  std::set<std::string> seen = {original};
  for (size_t i = 0; i < tensors.size(); ++i) {
    for (const bool last : {false, true}) {
      std::vector<FileTensor> changed = tensors;
      std::string& bytes = changed[i].bytes;
      char& byte = bytes[last ? bytes.size() - 2 : 0];  // low bytes: stays finite
      byte = static_cast<char>(byte ^ 1);
      EXPECT_TRUE(seen.insert(Fingerprint(changed)).second) << tensors[i].name;
    }
  }
}

TEST_F(WeightsTest, FingerprintDependsOnDTypeAndOnWhichTensorHasWhichBytes) {
  const std::string original = Fingerprint(SmallTensors("BF16"));
  EXPECT_NE(original, Fingerprint(SmallTensors("F16")));
  EXPECT_NE(original, Fingerprint(SmallTensors("F32")));
  std::vector<FileTensor> swapped = SmallTensors("BF16");
  std::swap(Named(swapped, "model.layers.0.mlp.up_proj.weight").bytes,
            Named(swapped, "model.layers.0.mlp.gate_proj.weight").bytes);
  EXPECT_NE(original, Fingerprint(swapped));
}

TEST_F(WeightsTest, FingerprintDependsOnSettingsThatChangeEncodingsAndOnNoOthers) {
  ModelConfig base = SmallConfig();
  base.msa_layers = {0, 1};
  const std::vector<FileTensor> tensors = SmallTensors("BF16", base);
  const std::string original = Fingerprint(tensors, base);
  const auto changed = [&](auto change) {
    ModelConfig config = base;
    change(config);
    return Fingerprint(tensors, config);
  };
  EXPECT_NE(original, changed([](ModelConfig& c) { c.msa_layers = {1}; }));
  EXPECT_NE(original, changed([](ModelConfig& c) { c.tokens_per_chunk = 8; }));
  EXPECT_NE(original, changed([](ModelConfig& c) { c.decouple_router = false; }));
  EXPECT_NE(original, changed([](ModelConfig& c) { c.cosine = false; }));
  EXPECT_NE(original, changed([](ModelConfig& c) { c.rope_theta = 5e6; }));
  EXPECT_NE(original, changed([](ModelConfig& c) { c.rms_epsilon = 1e-5f; }));
  // The same widths from other heads: 4 x 4 = 8 x 2.
  ModelConfig heads = base;
  heads.num_query_heads = 8;
  heads.num_kv_heads = 4;
  heads.head_dim = 2;
  EXPECT_NE(original, Fingerprint(SmallTensors("BF16", heads), heads));

  EXPECT_EQ(original, changed([](ModelConfig& c) { c.doc_top_k = 5; }));
  EXPECT_EQ(original, changed([](ModelConfig& c) { c.name = "other"; }));
  EXPECT_EQ(original,
            changed([](ModelConfig& c) { c.query_reduce = kernels::QueryReduce::kMean; }));
  EXPECT_EQ(original, changed([](ModelConfig& c) { c.head_reduce = kernels::HeadReduce::kMax; }));
  EXPECT_EQ(original,
            changed([](ModelConfig& c) { c.answer_block_mask = AnswerBlockMask::kCausal; }));
  EXPECT_EQ(original, changed([](ModelConfig& c) { c.eos_token_ids = {1}; }));
}

TEST_F(WeightsTest, FingerprintIgnoresOrderInTheFileAndUnreadTensors) {
  std::vector<FileTensor> tensors = SmallTensors("BF16");
  const std::string original = Fingerprint(tensors);
  std::reverse(tensors.begin(), tensors.end());
  tensors.push_back({"temperature", "BF16", {}, "xx"});
  EXPECT_EQ(original, Fingerprint(tensors));
}

TEST_F(WeightsTest, FingerprintDoesNotDependOnThreadsEvenOverManyBlocks) {
  ModelConfig config = SmallConfig();
  config.vocab_size = (int64_t{17} << 20) / 16 + 3;  // an embedding of two blocks and a bit
  WriteText(directory_.File("model.safetensors"), SafetensorsText(SmallTensors("BF16", config)));
  const auto checkpoint = Checkpoint::Open(directory_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  kernels::ThreadPool one(1);
  kernels::ThreadPool many(5);
  const auto alone = FingerprintModel(config, **checkpoint, one);
  const auto together = FingerprintModel(config, **checkpoint, many);
  ASSERT_TRUE(alone.ok()) << alone.status();
  ASSERT_TRUE(together.ok()) << together.status();
  EXPECT_EQ(*alone, *together);
}

TEST_F(WeightsTest, ResidentBytesAreThoseOfTheNumbersInUse) {
  int64_t matrix_elements = 0;
  int64_t norm_elements = 0;
  for (const ExpectedTensor& tensor : ExpectedTensors(SmallConfig())) {
    if (tensor.shape.size() == 2) matrix_elements += tensor.shape[0] * tensor.shape[1];
    if (tensor.shape.size() == 1) norm_elements += tensor.shape[0];
  }
  EXPECT_EQ((*Load(SmallTensors("BF16"), ComputeDType::kBF16))->resident_bytes,
            2 * matrix_elements + 4 * norm_elements);
  EXPECT_EQ((*Load(SmallTensors("F16"), ComputeDType::kF32))->resident_bytes,
            4 * matrix_elements + 4 * norm_elements);
}

TEST_F(WeightsTest, ErrorsOfTheCheckpointComeThrough) {
  std::vector<FileTensor> tensors = SmallTensors("BF16");
  tensors.erase(tensors.begin());
  ExpectError(Load(tensors, ComputeDType::kF32).status(), {kEmbedding, "missing"},
              absl::StatusCode::kNotFound);
}

TEST_F(WeightsTest, BothFormsOfTheGoldenModelAreTheSameModel) {
  const auto config = LoadModelConfig(kGolden);
  ASSERT_TRUE(config.ok()) << config.status();
  for (const ComputeDType compute : {ComputeDType::kF32, ComputeDType::kBF16}) {
    const auto whole = Weights::Load(kGolden, *config, compute);
    const auto sharded = Weights::Load(kGoldenSharded, *config, compute);
    ASSERT_TRUE(whole.ok()) << whole.status();
    ASSERT_TRUE(sharded.ok()) << sharded.status();
    EXPECT_EQ(AllValues(**whole), AllValues(**sharded));
    EXPECT_EQ((*whole)->fingerprint, (*sharded)->fingerprint);
    EXPECT_EQ((*whole)->embedding.dtype, DType::kBF16);
    EXPECT_EQ((*whole)->layers[2].router_query.rows, 128);
    EXPECT_EQ((*whole)->layers[1].router_query.rows, 0);
  }
}

// Banks on disk are bound to it: if this fails, existing banks no longer open.
TEST_F(WeightsTest, FingerprintOfTheGoldenModelNeverChanges) {
  const auto config = LoadModelConfig(kGolden);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto weights = Weights::Load(kGolden, *config, ComputeDType::kF32);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ((*weights)->fingerprint, "5363d8a77e1bc46e4a6edfa93a616beb");
}

}  // namespace
}  // namespace msa::engine
