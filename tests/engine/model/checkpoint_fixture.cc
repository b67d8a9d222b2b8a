#include "tests/engine/model/checkpoint_fixture.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "engine/model/checkpoint.h"
#include "gtest/gtest.h"
#include "kernels/core/dtype.h"

namespace msa::engine {
namespace {

using nlohmann::json;

// Every non-negative f16 by its definition: nothing that could be wrong in the same way as the code
// under test.
std::map<double, uint16_t> F16Values() {
  std::map<double, uint16_t> values;
  for (int bits = 0; bits < 31 << 10; ++bits) {
    const int exponent = bits >> 10;
    const int mantissa = bits & 0x3ff;
    const double value =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    values[value] = static_cast<uint16_t>(bits);
  }
  return values;
}

uint16_t ToF16(float value) {
  static const std::map<double, uint16_t> kValues = F16Values();
  const auto found = kValues.find(std::abs(value));
  if (found == kValues.end()) {
    ADD_FAILURE() << value << " is not exact in f16";
    return 0;
  }
  return static_cast<uint16_t>(found->second | (std::signbit(value) ? 0x8000 : 0));
}

int64_t SaltOf(const std::string& tensor) {
  int64_t salt = 0;
  for (const char c : tensor) salt = salt * 31 % 1000 + c;
  return salt;
}

float SaltedValue(int64_t salt, int64_t element) {
  return static_cast<float>((element * 7 + salt) % 61 - 30) / 64.0f;
}

template <class Word>
void Append(std::string& text, Word word) {
  char bytes[sizeof(Word)];
  std::memcpy(bytes, &word, sizeof(word));
  text.append(bytes, sizeof(word));
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  path_ = (std::filesystem::temp_directory_path() / "msa_model_test_XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "cannot create " << path_;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

void WriteText(const std::string& path, const std::string& text) {
  // A new file instead of a truncated one: a model may still map the old one, and some file systems
  // write a truncated file to the disk when it is closed.
  std::error_code error;
  std::filesystem::remove(path, error);
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) ADD_FAILURE() << "cannot write " << path;
}

std::string SafetensorsText(const std::string& header, const std::string& data) {
  std::string text;
  Append(text, static_cast<uint64_t>(header.size()));
  return text + header + data;
}

std::string SafetensorsText(const std::vector<FileTensor>& tensors, bool pad_header) {
  json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const FileTensor& tensor : tensors) {
    const size_t begin = data.size();
    data += tensor.bytes;
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  while (text.size() % 8 != (pad_header ? 0 : 1)) text += ' ';
  return SafetensorsText(text, data);
}

std::string Encode(const std::vector<float>& values, const std::string& dtype) {
  std::string bytes;
  for (const float value : values) {
    if (dtype == "F32") Append(bytes, value);
    if (dtype == "F16") Append(bytes, ToF16(value));
    if (dtype == "BF16") {
      const auto bits = std::bit_cast<uint32_t>(value);
      if ((bits & 0xffff) != 0) ADD_FAILURE() << value << " is not exact in bf16";
      Append(bytes, static_cast<uint16_t>(bits >> 16));
    }
  }
  return bytes;
}

json SmallConfigJson() {
  return {
      {"hidden_size", 8},
      {"num_hidden_layers", 2},
      {"num_attention_heads", 4},
      {"num_key_value_heads", 2},
      {"head_dim", 4},
      {"intermediate_size", 16},
      {"vocab_size", 32},
      {"max_position_embeddings", 512},
      {"rms_norm_eps", 1e-6},
      {"rope_theta", 10000.0},
      {"tie_word_embeddings", true},
      {"eos_token_id", 2},
      {"msa_config",
       {{"router_layer_idx", "1"},
        {"pooling_kernel_size", 4},
        {"doc_top_k", 3},
        {"decouple_router", true},
        {"aux_loss_method", "INFONCE"},
        {"head_reduce_method", "mean"},
        {"query_reduce_method", "max"},
        {"chunk_reduce_method", "max"}}},
  };
}

ModelConfig SmallConfig() {
  return ParseModelConfig(SmallConfigJson().dump(), "", "small").value();
}

float SmallValue(const std::string& tensor, int64_t element) {
  return SaltedValue(SaltOf(tensor), element);
}

std::vector<FileTensor> SmallTensors(const std::string& dtype, const ModelConfig& config) {
  std::vector<FileTensor> tensors;
  for (const ExpectedTensor& expected : ExpectedTensors(config)) {
    int64_t count = 1;
    for (const int64_t dimension : expected.shape) count *= dimension;
    const int64_t salt = SaltOf(expected.name);
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(SaltedValue(salt, i));
    tensors.push_back({expected.name, dtype, expected.shape, Encode(values, dtype)});
  }
  return tensors;
}

FileTensor& Named(std::vector<FileTensor>& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const FileTensor& tensor) { return tensor.name == name; });
  if (found == tensors.end()) {
    ADD_FAILURE() << "no tensor " << name;
    return tensors.front();
  }
  return *found;
}

void ExpectError(const absl::Status& status, const std::vector<std::string>& parts,
                 absl::StatusCode code) {
  EXPECT_EQ(status.code(), code) << status;
  for (const std::string& part : parts) {
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part));
  }
}

}  // namespace msa::engine
