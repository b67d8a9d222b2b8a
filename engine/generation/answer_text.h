#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace msa::engine {

// What the model writes after the answer block, cut to the answer. The answer is what follows the
// answer prefix if the text begins with it (white space before it does not count), otherwise the
// whole text. It ends before the first stop string: the one that is complete first, whatever pieces
// the text comes in. One thread at a time.
class AnswerText {
 public:
  // Empty stop strings are ignored.
  AnswerText(std::string prefix, std::vector<std::string> stop);

  // Appends whole characters. True once a stop string has ended the answer; nothing may be pushed
  // after that.
  bool Push(std::string_view text);

  // Nothing more comes: what was held back belongs to the answer. True if a stop string ended it.
  bool Finish();

  // The part of the answer since the last call that neither the prefix nor a stop string may still
  // take back, without white space at the answer's beginning. All parts together are answer() up to
  // white space at the end.
  std::string Take();

  // Trimmed of ASCII white space.
  std::string answer() const;

 private:
  bool Search();

  const std::string prefix_;
  const std::vector<std::string> stop_;
  size_t longest_stop_ = 0;
  bool has_begun_ = false;  // false while the text may still become the prefix
  bool is_stopped_ = false;
  std::string text_;     // the answer; everything until it has begun
  size_t searched_ = 0;  // no stop string ends within the first `searched_` bytes of text_
  size_t visible_ = 0;   // bytes of text_ that are certain
  size_t taken_ = 0;
  bool is_shown_ = false;  // something else than white space was taken
};

}  // namespace msa::engine
