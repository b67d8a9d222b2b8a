#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

// The golden texts of tests/data/tokenizer: what Hugging Face's tokenizers makes of them.
namespace msa::engine {

// Bytes of a text long enough that quadratic work would not end; sanitizers slow everything down.
#ifdef MSA_SANITIZE
inline constexpr size_t kLongTextBytes = 1 << 16;
#else
inline constexpr size_t kLongTextBytes = 1 << 20;
#endif

inline std::string TokenizerDataPath(const std::string& name) {
  return std::string(MSA_TEST_DATA "/tokenizer/") + name;
}

inline std::string ReadTokenizerData(const std::string& name) {
  std::ifstream file(TokenizerDataPath(name), std::ios::binary);
  EXPECT_TRUE(file.is_open()) << TokenizerDataPath(name);
  std::ostringstream content;
  content << file.rdbuf();
  return std::move(content).str();
}

struct TokenizerVector {
  std::string text;  // what goes in; need not be UTF-8
  std::vector<int32_t> ids;
  std::string decoded;
};

// 2058 texts of vectors.jsonl: every added token in them is parsed.
inline std::vector<TokenizerVector> ReadTokenizerVectors() {
  std::vector<TokenizerVector> vectors;
  std::istringstream lines(ReadTokenizerData("vectors.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto object = nlohmann::json::parse(line);
    vectors.push_back({object.at("text"), object.at("ids"), object.at("decoded")});
  }
  EXPECT_EQ(vectors.size(), 2058u);
  return vectors;
}

// 20 byte strings that are not UTF-8. `decoded` is the text with U+FFFD.
inline std::vector<TokenizerVector> ReadInvalidUtf8Vectors() {
  std::vector<TokenizerVector> vectors;
  for (const auto& object : nlohmann::json::parse(ReadTokenizerData("invalid_utf8.json"))) {
    const std::string hex = object.at("bytes_hex");
    std::string bytes;
    for (size_t i = 0; i < hex.size(); i += 2) {
      bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    vectors.push_back({bytes, object.at("ids"), object.at("text")});
  }
  EXPECT_EQ(vectors.size(), 20u);
  return vectors;
}

}  // namespace msa::engine
