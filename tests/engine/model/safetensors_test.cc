#include "engine/model/safetensors.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_fixture.h"

namespace msa::engine {
namespace {

using nlohmann::json;
using testing::ElementsAre;

class SafetensorsTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& content) {
    WriteText(path_, content);
    return SafetensorsFile::Open(path_);
  }
  // A file with tensors "a" (two f32) and "b" (one f32) whose header was changed.
  absl::Status OpenChanged(const std::string& pointer, const json& value,
                           const std::string& data = std::string(12, 'x')) {
    json header = {{"a", {{"dtype", "F32"}, {"shape", {2}}, {"data_offsets", {0, 8}}}},
                   {"b", {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {8, 12}}}}};
    if (!pointer.empty()) header[json::json_pointer(pointer)] = value;
    return Open(SafetensorsText(header.dump(), data)).status();
  }

  TemporaryDirectory directory_;
  const std::string path_ = directory_.File("model.safetensors");
};

TEST_F(SafetensorsTest, ReadsTensorsOfAllDTypesAndScalars) {
  const auto file = Open(SafetensorsText({{"f32", "F32", {2, 1}, Encode({1.5f, -2.0f}, "F32")},
                                          {"bf16", "BF16", {3}, Encode({1, 2, 3}, "BF16")},
                                          {"f16", "F16", {1}, Encode({0.5f}, "F16")},
                                          {"scalar", "BF16", {}, Encode({1}, "BF16")},
                                          {"ids", "I64", {1}, std::string(8, '\1')},
                                          {"empty", "F32", {0, 4}, ""}}));
  ASSERT_TRUE(file.ok()) << file.status();
  const auto& tensors = (*file)->tensors();
  EXPECT_EQ(tensors.size(), 6u);
  EXPECT_EQ(tensors.at("f32").dtype, kernels::DType::kF32);
  EXPECT_THAT(tensors.at("f32").shape, ElementsAre(2, 1));
  EXPECT_EQ(tensors.at("f32").bytes.size(), 8u);
  EXPECT_EQ(std::to_integer<int>(tensors.at("bf16").bytes[1]), 0x3f);
  EXPECT_EQ(tensors.at("bf16").dtype, kernels::DType::kBF16);
  EXPECT_EQ(tensors.at("f16").dtype, kernels::DType::kF16);
  EXPECT_TRUE(tensors.at("scalar").shape.empty());
  EXPECT_EQ(tensors.at("ids").dtype, std::nullopt);
  EXPECT_EQ(tensors.at("ids").dtype_name, "I64");
  EXPECT_TRUE(tensors.at("empty").bytes.empty());
}

TEST_F(SafetensorsTest, AFileWithoutTensorsIsFine) {
  EXPECT_TRUE(Open(SafetensorsText("{}", "")).ok());
}

TEST_F(SafetensorsTest, AFileThatCannotBeOpenedIsNamed) {
  ExpectError(SafetensorsFile::Open(directory_.File("none")).status(), {directory_.File("none")},
              absl::StatusCode::kNotFound);
  ExpectError(SafetensorsFile::Open(directory_.path()).status(),
              {directory_.path(), "not a regular file"});
}

TEST_F(SafetensorsTest, TruncationAnywhereIsRefused) {
  const std::string whole = SafetensorsText(SmallTensors("BF16"));
  ASSERT_TRUE(Open(whole).ok());
  for (size_t size = 0; size < whole.size(); size += size < 20 ? 1 : 37) {
    ExpectError(Open(whole.substr(0, size)).status(), {path_});
  }
  ExpectError(Open(whole.substr(0, 4)).status(), {"4 bytes are too few"});
  ExpectError(Open(whole.substr(0, whole.size() - 1)).status(),
              {"tensor \"model.norm.weight\"", "outside the file"});
}

TEST_F(SafetensorsTest, ALongHeaderLengthIsRefused) {
  std::string text = SafetensorsText("{}", "");
  text[1] = '\1';
  ExpectError(Open(text).status(), {path_, "header claims 258 bytes", "the file has 2"});
  text[7] = '\x7f';
  ExpectError(Open(text).status(), {"header claims"});
  const std::string huge(size_t{17} << 20, ' ');
  ExpectError(Open(SafetensorsText("{}" + huge, "")).status(),
              {"header claims", "at most 16777216"});
}

TEST_F(SafetensorsTest, AHeaderThatIsNoJsonObjectIsRefused) {
  ExpectError(Open(SafetensorsText("[]", "")).status(), {path_ + " (header)", "JSON object"});
  ExpectError(Open(SafetensorsText("{\"a\"", "")).status(), {"not valid JSON"});
  ExpectError(Open(SafetensorsText("", "")).status(), {"not valid JSON"});
  const std::string entry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  ExpectError(Open(SafetensorsText("{\"a\":" + entry + ",\"a\":" + entry + "}", "xxxx")).status(),
              {"key \"a\" occurs twice"});
}

TEST_F(SafetensorsTest, LyingShapesAreRefused) {
  EXPECT_TRUE(OpenChanged("", nullptr).ok());
  ExpectError(OpenChanged("/a/shape", {3}),
              {path_, "tensor \"a\"", "shape [3] is 3 elements of F32", "hold 8 bytes"});
  ExpectError(OpenChanged("/a/shape", json::array()), {"tensor \"a\"", "1 elements"});
  ExpectError(OpenChanged("/a/dtype", "BF16"),
              {"tensor \"a\"", "2 elements of BF16 with 2 bytes each", "hold 8 bytes"});
  ExpectError(OpenChanged("/a/shape", {-2}), {"tensor \"a\"", "[-2]"});
  ExpectError(OpenChanged("/a/shape", {-1, -2}), {"tensor \"a\"", "[-1,-2]"});
  ExpectError(OpenChanged("/a/shape", {2.0}), {"tensor \"a\"", "[2.0]"});
  ExpectError(OpenChanged("/a/shape", {UINT64_MAX}), {"tensor \"a\""});
  ExpectError(OpenChanged("/a/shape", {int64_t{1} << 62, 4}),
              {"tensor \"a\"", "more elements than any file"});
  // 2^62 + 2 elements of 4 bytes are 8 modulo 2^64.
  ExpectError(OpenChanged("/a/shape", {(int64_t{1} << 62) + 2}),
              {"tensor \"a\"", "4611686018427387906 elements"});
  ExpectError(OpenChanged("/a/shape", json::array({1, 1, 1, 1, 1, 1, 1, 1, 2})),
              {"tensor \"a\"", "9 dimensions"});
  ExpectError(OpenChanged("/a/shape", "2"), {"tensor \"a\"", "shape must be an array"});
}

TEST_F(SafetensorsTest, MissingOrMistypedMembersAreRefused) {
  ExpectError(OpenChanged("/a", 5), {"tensor \"a\"", "expected an object"});
  ExpectError(OpenChanged("/a", json::object()), {"tensor \"a\"", "dtype"});
  ExpectError(OpenChanged("/a/dtype", 32), {"tensor \"a\"", "dtype"});
  ExpectError(OpenChanged("/a/data_offsets", {0}), {"tensor \"a\"", "data_offsets"});
  ExpectError(OpenChanged("/a/data_offsets", {0, 4, 8}), {"tensor \"a\"", "data_offsets"});
  ExpectError(OpenChanged("/a/data_offsets", {-8, 0}), {"tensor \"a\"", "data_offsets"});
  ExpectError(OpenChanged("/a/data_offsets", {0.0, 8.0}), {"tensor \"a\"", "data_offsets"});
  ExpectError(OpenChanged("/a/data_offsets", {8, 0}), {"tensor \"a\"", "run backwards"});
  ExpectError(OpenChanged("/b/data_offsets", {12, 16}),
              {"tensor \"b\"", "outside the file, which holds 12 bytes"});
  ExpectError(OpenChanged("/b/data_offsets", {UINT64_MAX - 3, UINT64_MAX}),
              {"tensor \"b\"", "outside the file"});
}

TEST_F(SafetensorsTest, OverlapsGapsAndRemaindersAreRefused) {
  ExpectError(
      OpenChanged("/b/data_offsets", {4, 8}, std::string(8, 'x')),
      {path_, "tensor \"b\"", "starts at byte 4", "overlaps tensor \"a\", which ends at 8"});
  ExpectError(OpenChanged("/b/data_offsets", {12, 16}, std::string(16, 'x')),
              {"tensor \"b\"", "starts at byte 12", "expected 8: a gap of 4 bytes"});
  ExpectError(OpenChanged("", nullptr, std::string(13, 'x')),
              {path_, "hold 12 bytes, the file has 13"});
  ExpectError(Open(SafetensorsText("{}", "x")).status(), {"hold 0 bytes, the file has 1"});
}

TEST_F(SafetensorsTest, ATensorOfAnUnknownDTypeIsNoErrorWhileNobodyNeedsIt) {
  EXPECT_TRUE(OpenChanged("/a/dtype", "F4_NEW").ok());
  ExpectError(OpenChanged("/a/dtype", "I64"), {"tensor \"a\"", "I64 with 8 bytes each"});
}

TEST_F(SafetensorsTest, DamagedHeadersNeverCrash) {
  const std::string whole = SafetensorsText(SmallTensors("BF16"));
  std::mt19937 random(11);
  for (int round = 0; round < 400; ++round) {
    std::string text = whole;
    for (int i = 0; i < 2; ++i) text[random() % 2500] = static_cast<char>(random());
    const absl::Status status = Open(text).status();
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  }
}

}  // namespace
}  // namespace msa::engine
