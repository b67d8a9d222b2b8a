#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace msa::engine {

// Ids lie in [0, kMaxTokenIds), so that tables indexed by id stay small whatever a file says.
inline constexpr int32_t kMaxTokenIds = 1 << 21;
inline constexpr size_t kMaxAddedTokenBytes = 1024;

// A token that is found in text before BPE, with Hugging Face's flags.
struct AddedToken {
  int32_t id = 0;
  std::string content;       // UTF-8, 1 to kMaxAddedTokenBytes bytes
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized =
      false;  // looked for, normalised, in normalised text; otherwise in the text as it came
  bool special =
      false;  // a control token: never made from users' text, can be left out of decoded text
};

// What a Hugging Face tokenizer.json says, checked, of the one kind that is supported: byte-level
// BPE as in Qwen2 and Qwen3. Every field is as in the file; nothing here is compiled or indexed
// yet.
struct TokenizerFile {
  struct VocabEntry {
    std::string symbols;  // in byte symbols (byte_symbols.h)
    int32_t id = 0;
  };
  struct Merge {
    int32_t left = 0;  // token ids
    int32_t right = 0;
    int32_t result = 0;
  };

  bool normalize_nfc = false;
  std::string split_regex;
  bool ignore_merges =
      false;  // a piece of text that is a token becomes that token, whatever the merges say
  std::vector<VocabEntry>
      vocab;                  // ids and symbols each without duplicates; holds all 256 byte symbols
  std::vector<Merge> merges;  // by rank, no pair twice, no result a special token
  std::vector<AddedToken>
      added_tokens;  // an added token may also stand in `vocab`, with the same id
};

// `json`: the file's content. InvalidArgument names what is wrong, where, and what is supported.
absl::StatusOr<TokenizerFile> ParseTokenizerFile(std::string_view json);

}  // namespace msa::engine
