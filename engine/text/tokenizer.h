#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace msa::engine {

class AddedTokenMatcher;
class BytePairEncoder;
class PreTokenizer;
struct TokenizerFile;

// Text to token ids and back, as a Hugging Face tokenizer.json says: byte-level BPE of the kind of
// Qwen2 and Qwen3. Immutable; all methods are thread-safe and take time proportional to their input
// (times a logarithm).
//
// Input need not be UTF-8: each broken sequence counts as U+FFFD, as in Python's "replace" and
// Rust's lossy decoding.
class Tokenizer {
 public:
  // `path`: a tokenizer.json. NotFound or Unavailable if it cannot be read; InvalidArgument if it
  // is damaged or of an unsupported kind. Errors name the file, the component, and what is
  // supported.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& path);
  // The same from the file's content.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(std::string_view json);
  ~Tokenizer();

  // Users' text. Added tokens that are special become ordinary tokens here; those that are not are
  // found as Hugging Face finds them (its `encode_special_tokens = True`).
  std::vector<int32_t> EncodeText(std::string_view text) const;

  // Text in which every added token is parsed, as Hugging Face's `encode(text,
  // add_special_tokens=False)` does. Only for strings of our own.
  std::vector<int32_t> EncodeTemplate(std::string_view text) const;

  // The text that EncodeText's tokens spell, byte for byte: `text` after replacement of broken
  // UTF-8 and normalisation (NFC, where the file asks for it; between added tokens, as Hugging Face
  // does), so that a position in it can be found by adding TokenBytes(id).size() over the tokens.
  std::string Normalize(std::string_view text) const;

  // The text of `ids`, broken UTF-8 replaced by U+FFFD. Unknown ids, and if `skip_special` special
  // tokens, add nothing. An added token adds its content, also where Hugging Face would take that
  // for byte symbols and garble it (a content such as "caf\u00E9").
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const;

  // The bytes of an ordinary token, the content of an added token; empty for unused ids and those
  // outside the vocabulary. Valid as long as the tokenizer.
  std::string_view TokenBytes(int32_t id) const;
  bool IsSpecial(int32_t id) const;
  // Only special tokens have one here.
  std::optional<int32_t> SpecialTokenId(std::string_view content) const;
  int32_t vocab_size() const { return static_cast<int32_t>(tokens_.size()); }  // highest id + 1

 private:
  struct Token {
    std::string bytes;
    bool special = false;
  };
  struct Segment;

  Tokenizer();

  absl::Status Build(const TokenizerFile& file);
  // Added tokens and the normalised text between them.
  std::vector<Segment> Segments(std::string_view text, bool match_special) const;
  std::vector<int32_t> Encode(std::string_view text, bool match_special) const;

  bool normalize_nfc_ = false;
  std::vector<Token> tokens_;  // by id
  std::vector<int32_t> special_ids_;
  std::unique_ptr<AddedTokenMatcher> raw_matcher_;         // for text as it came
  std::unique_ptr<AddedTokenMatcher> normalized_matcher_;  // for normalised text
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<BytePairEncoder> encoder_;
};

}  // namespace msa::engine
