#include "engine/text/stream_decoder.h"

#include <algorithm>
#include <utility>

#include "engine/text/utf8.h"

namespace msa::engine {
namespace {

// How many bytes at the end of `bytes` are a character that has begun but is not whole.
size_t NumCutOffBytes(std::string_view bytes) {
  for (size_t length = 1; length <= std::min<size_t>(3, bytes.size()); ++length) {
    const std::string_view tail = bytes.substr(bytes.size() - length);
    const Utf8Sequence sequence = FirstUtf8Sequence(tail);
    if (sequence.kind == Utf8Sequence::Kind::kCutOff) return length;
  }
  return 0;
}

}  // namespace

std::string StreamDecoder::Push(int32_t id) {
  if (skip_special_ && tokenizer_->IsSpecial(id)) return "";
  held_back_ += tokenizer_->TokenBytes(id);
  const size_t num_ready = held_back_.size() - NumCutOffBytes(held_back_);
  std::string text = ReplaceInvalidUtf8(std::string_view(held_back_).substr(0, num_ready));
  held_back_.erase(0, num_ready);
  return text;
}

std::string StreamDecoder::Finish() { return ReplaceInvalidUtf8(std::exchange(held_back_, "")); }

}  // namespace msa::engine
