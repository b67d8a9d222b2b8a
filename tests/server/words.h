#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

namespace msa::server {

// Runs of letters, digits and underscores, for tests that scan sources and documents.
struct Word {
  std::string text;
  bool quoted = false;  // in double quotes, alone
};

inline std::vector<Word> WordsOf(const std::string& text) {
  const auto is_part = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  std::vector<Word> words;
  auto begin = text.begin();
  while ((begin = std::find_if(begin, text.end(), is_part)) != text.end()) {
    const auto end = std::find_if_not(begin, text.end(), is_part);
    const bool quoted =
        begin != text.begin() && *(begin - 1) == '"' && end != text.end() && *end == '"';
    words.push_back({std::string(begin, end), quoted});
    begin = end;
  }
  return words;
}

}  // namespace msa::server
