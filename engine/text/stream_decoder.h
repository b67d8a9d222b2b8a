#pragma once

#include <cstdint>
#include <string>

#include "engine/text/tokenizer.h"

namespace msa::engine {

// Turns token ids into text as they come. A character whose bytes are spread over several tokens is
// held back until it is whole; broken UTF-8 becomes U+FFFD. All that Push and Finish return
// together is what Tokenizer::Decode returns for all ids at once. One per stream; not thread-safe.
class StreamDecoder {
 public:
  // `tokenizer` must outlive the decoder. `skip_special`: special tokens add no text.
  StreamDecoder(const Tokenizer* tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  // Whole characters that are certain now; may be empty.
  std::string Push(int32_t id);
  // The end of the ids: U+FFFD if a character was left incomplete, otherwise nothing. The decoder
  // can then start anew.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string held_back_;  // the first 1 to 3 bytes of a character, or nothing
};

}  // namespace msa::engine
