#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace msa::engine {

// Cuts text into the pieces that BPE then works on one by one: Hugging Face's pre-tokenizer "Split"
// with a regular expression and behaviour "Isolated" (every match is a piece, and so is what lies
// between two matches).
//
// The expression is written for Oniguruma and run by PCRE2 in its Unicode mode. Escapes and
// constructs that the two read differently are refused. Thread-safe after creation.
class PreTokenizer {
 public:
  // InvalidArgument, with the expression, if it does not compile or is not portable.
  static absl::StatusOr<PreTokenizer> Create(std::string_view regex);

  PreTokenizer(PreTokenizer&&) = default;
  PreTokenizer& operator=(PreTokenizer&&) = default;

  // The pieces of `text` (well-formed UTF-8), in order, none empty; together they are `text`, into
  // which they point.
  std::vector<std::string_view> Split(std::string_view text) const;

 private:
  struct CodeDeleter {
    void operator()(void* code) const;
  };
  using Code = std::unique_ptr<void, CodeDeleter>;  // pcre2_code

  explicit PreTokenizer(Code code) : code_(std::move(code)) {}

  Code code_;
};

}  // namespace msa::engine
