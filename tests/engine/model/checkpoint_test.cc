#include "engine/model/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_fixture.h"

namespace msa::engine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kKeyProjection[] = "model.layers.0.self_attn.k_proj.weight";

class CheckpointTest : public testing::Test {
 protected:
  std::string File(const std::string& name) const { return directory_.File(name); }

  absl::Status Validate(const std::vector<FileTensor>& tensors,
                        const ModelConfig& config = SmallConfig()) {
    WriteText(File("model.safetensors"), SafetensorsText(tensors));
    const auto checkpoint = Checkpoint::Open(directory_.path());
    return checkpoint.ok() ? (*checkpoint)->Validate(config) : checkpoint.status();
  }

  // Two shards, "one" with the first tensors and "two" with the rest; returns the index that describes them.
  json WriteShards() {
    const std::vector<FileTensor> all = SmallTensors("BF16");
    const std::vector<FileTensor> first(all.begin(), all.begin() + 5);
    const std::vector<FileTensor> second(all.begin() + 5, all.end());
    WriteText(File("one.safetensors"), SafetensorsText(first));
    WriteText(File("two.safetensors"), SafetensorsText(second));
    json map;
    for (const FileTensor& tensor : first) map[tensor.name] = "one.safetensors";
    for (const FileTensor& tensor : second) map[tensor.name] = "two.safetensors";
    return {{"metadata", {{"total_size", 1}}}, {"weight_map", map}};
  }

  absl::Status OpenIndex(const json& index) {
    WriteText(File("model.safetensors.index.json"), index.dump());
    return Checkpoint::Open(directory_.path()).status();
  }

  TemporaryDirectory directory_;
};

TEST_F(CheckpointTest, ExpectedTensorsAreQwen3WithRouters) {
  std::vector<std::string> names;
  for (const ExpectedTensor& tensor : ExpectedTensors(SmallConfig())) names.push_back(tensor.name);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(names.size(), 2u + 2 * 11 + 2);
  EXPECT_THAT(names, testing::Contains("model.layers.1.self_attn.router_q_proj.0.weight"));
  EXPECT_THAT(names,
              testing::Not(testing::Contains("model.layers.0.self_attn.router_q_proj.0.weight")));
  EXPECT_THAT(names, testing::Not(testing::Contains("lm_head.weight")));
}

TEST_F(CheckpointTest, EachMissingTensorIsNamed) {
  const std::vector<FileTensor> all = SmallTensors("BF16");
  ASSERT_TRUE(Validate(all).ok());
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<FileTensor> tensors = all;
    tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i));
    ExpectError(
        Validate(tensors),
        {File("model.safetensors"), "\"" + all[i].name + "\"", ShapeText(all[i].shape), "missing"},
        absl::StatusCode::kNotFound);
  }
}

TEST_F(CheckpointTest, EachWrongShapeIsNamedWithTheExpectedOne) {
  const std::vector<FileTensor> all = SmallTensors("BF16");
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<FileTensor> tensors = all;
    tensors[i].shape.insert(tensors[i].shape.begin(), 1);
    ExpectError(Validate(tensors), {File("model.safetensors"), "\"" + all[i].name + "\"",
                                    "has shape " + ShapeText(tensors[i].shape),
                                    "expected " + ShapeText(all[i].shape)});
  }
  std::vector<FileTensor> transposed = all;
  Named(transposed, kKeyProjection).shape = {4, 16};
  ExpectError(Validate(transposed), {kKeyProjection, "[4, 16]", "expected [8, 8]"});
}

TEST_F(CheckpointTest, AnUnreadableDTypeIsAnErrorOnlyWhereTheTensorIsNeeded) {
  std::vector<FileTensor> tensors = SmallTensors("BF16");
  tensors.push_back({"extra.ids", "I64", {1}, std::string(8, '\0')});
  EXPECT_TRUE(Validate(tensors).ok());
  Named(tensors, kKeyProjection).dtype = "I16";
  ExpectError(Validate(tensors),
              {File("model.safetensors"), kKeyProjection, "dtype \"I16\"", "BF16, F16 or F32"});
}

TEST_F(CheckpointTest, TensorsThatNobodyReadsAreIgnored) {
  std::vector<FileTensor> tensors = SmallTensors("BF16");
  tensors.push_back({"temperature", "BF16", {}, "xx"});
  tensors.push_back({"lm_head.weight", "BF16", {1}, "xx"});
  tensors.push_back({"model.layers.0.self_attn.router_q_proj.0.weight", "BF16", {1}, "xx"});
  EXPECT_TRUE(Validate(tensors).ok());
}

TEST_F(CheckpointTest, AnUntiedModelNeedsItsHead) {
  ModelConfig untied = SmallConfig();
  untied.tied_embeddings = false;
  ExpectError(Validate(SmallTensors("BF16"), untied), {"lm_head.weight", "[32, 8]", "missing"},
              absl::StatusCode::kNotFound);
  EXPECT_TRUE(Validate(SmallTensors("BF16", untied), untied).ok());
}

TEST_F(CheckpointTest, ASharedRouterNeedsNoRouterTensors) {
  ModelConfig shared = SmallConfig();
  shared.decouple_router = false;
  EXPECT_TRUE(Validate(SmallTensors("BF16", shared), shared).ok());
}

TEST_F(CheckpointTest, ADirectoryWithoutWeightsIsNotFound) {
  ExpectError(Checkpoint::Open(directory_.path()).status(),
              {directory_.path(), "model.safetensors", "model.safetensors.index.json"},
              absl::StatusCode::kNotFound);
}

TEST_F(CheckpointTest, TheSingleFileIsReadWhereBothFormsExist) {
  EXPECT_FALSE(OpenIndex({{"weight_map", 3}}).ok());
  EXPECT_TRUE(Validate(SmallTensors("BF16")).ok());
}

TEST_F(CheckpointTest, ShardsTogetherAreTheModel) {
  ASSERT_TRUE(OpenIndex(WriteShards()).ok());
  EXPECT_TRUE((*Checkpoint::Open(directory_.path()))->Validate(SmallConfig()).ok());
}

TEST_F(CheckpointTest, AnIndexOfAnotherFormIsRefused) {
  const std::string path = File("model.safetensors.index.json");
  ExpectError(OpenIndex(json::array()), {path, "JSON object"});
  ExpectError(OpenIndex(json::object()), {path, "weight_map is missing"});
  ExpectError(OpenIndex({{"weight_map", "x"}}), {path, "weight_map is \"x\""});
  WriteText(path, R"({"weight_map": {"a": "x", "a": "y"}})");
  ExpectError(Checkpoint::Open(directory_.path()).status(), {path, "\"a\" occurs twice"});
}

TEST_F(CheckpointTest, ShardNamesThatAreNoPlainFileNamesAreRefused) {
  const json good = WriteShards();
  fs::create_directory(File("sub"));
  fs::copy_file(File("one.safetensors"), File("sub/one.safetensors"));
  for (const json& name :
       {json("../" + directory_.path().substr(5) + "/one.safetensors"), json("sub/one.safetensors"),
        json(File("one.safetensors")), json("./one.safetensors"), json(".."), json("."), json(""),
        json("a\\b"), json(std::string("one.safetensors\0x", 17)), json(5), json({1})}) {
    json index = good;
    index["weight_map"][kKeyProjection] = name;
    ExpectError(OpenIndex(index),
                {File("model.safetensors.index.json"), std::string("weight_map.") + kKeyProjection,
                 "allowed: the name of a file in the same directory"});
  }
}

TEST_F(CheckpointTest, LinksOutOfTheDirectoryAreRefused) {
  const TemporaryDirectory elsewhere;
  const json index = WriteShards();
  fs::rename(File("two.safetensors"), elsewhere.File("two.safetensors"));
  fs::create_symlink(elsewhere.File("two.safetensors"), File("two.safetensors"));
  ExpectError(OpenIndex(index),
              {File("two.safetensors"), elsewhere.path(), "outside the model's directory"});

  fs::create_symlink(elsewhere.File("two.safetensors"), File("model.safetensors"));
  ExpectError(Checkpoint::Open(directory_.path()).status(), {File("model.safetensors"), "outside"});
}

TEST_F(CheckpointTest, LinksWithinTheDirectoryAreFollowed) {
  const json index = WriteShards();
  fs::rename(File("two.safetensors"), File("blob"));
  fs::create_symlink("blob", File("two.safetensors"));
  EXPECT_TRUE(OpenIndex(index).ok());
}

TEST_F(CheckpointTest, AModelDirectoryMayItselfBeALink) {
  const TemporaryDirectory elsewhere;
  ASSERT_TRUE(OpenIndex(WriteShards()).ok());
  fs::create_directory_symlink(directory_.path(), elsewhere.File("model"));
  EXPECT_TRUE(Checkpoint::Open(elsewhere.File("model")).ok());
}

TEST_F(CheckpointTest, AMissingShardIsNamed) {
  const json index = WriteShards();
  fs::remove(File("two.safetensors"));
  ExpectError(OpenIndex(index), {File("two.safetensors"), "model.safetensors.index.json"},
              absl::StatusCode::kNotFound);
}

TEST_F(CheckpointTest, ADamagedShardIsNamed) {
  const json index = WriteShards();
  fs::resize_file(File("two.safetensors"), fs::file_size(File("two.safetensors")) - 1);
  ExpectError(OpenIndex(index), {File("two.safetensors"), "truncated"});
}

TEST_F(CheckpointTest, ATensorThatItsShardDoesNotHoldIsRefused) {
  json index = WriteShards();
  index["weight_map"]["model.norm.weight"] = "one.safetensors";
  ExpectError(OpenIndex(index),
              {"\"model.norm.weight\" is in one.safetensors, which does not hold it"});
  index = WriteShards();
  index["weight_map"]["no.such"] = "two.safetensors";
  ExpectError(OpenIndex(index), {"\"no.such\" is in two.safetensors, which does not hold it"});
}

TEST_F(CheckpointTest, ATensorInTwoShardsIsRefused) {
  const json index = WriteShards();
  WriteText(File("one.safetensors"), SafetensorsText(SmallTensors("BF16")));
  ExpectError(OpenIndex(index),
              {"is in two shards", File("one.safetensors"), File("two.safetensors")});
}

TEST_F(CheckpointTest, ATensorThatTheIndexLeavesOutIsMissing) {
  json index = WriteShards();
  index["weight_map"].erase(kKeyProjection);
  ASSERT_TRUE(OpenIndex(index).ok());
  ExpectError((*Checkpoint::Open(directory_.path()))->Validate(SmallConfig()),
              {"model.safetensors.index.json", kKeyProjection, "missing"},
              absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace msa::engine
