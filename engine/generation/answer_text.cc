#include "engine/generation/answer_text.h"

#include <algorithm>
#include <utility>

namespace msa::engine {
namespace {

constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";

std::vector<std::string> WithoutEmpty(std::vector<std::string> strings) {
  std::erase_if(strings, [](const std::string& s) { return s.empty(); });
  return strings;
}

std::string_view WithoutLeadingSpace(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kWhiteSpace), text.size()));
  return text;
}

// The length of the longest end of `text` with which `stop` begins without being complete.
size_t HeldBack(std::string_view text, std::string_view stop) {
  size_t length = std::min(text.size(), stop.size() - 1);
  while (length > 0 && text.substr(text.size() - length) != stop.substr(0, length)) --length;
  return length;
}

}  // namespace

AnswerText::AnswerText(std::string prefix, std::vector<std::string> stop)
    : prefix_(std::move(prefix)), stop_(WithoutEmpty(std::move(stop))) {
  for (const std::string& s : stop_) longest_stop_ = std::max(longest_stop_, s.size());
}

bool AnswerText::Push(std::string_view text) {
  text_ += text;
  if (!has_begun_) {
    const std::string_view begun = WithoutLeadingSpace(text_);
    if (begun.starts_with(prefix_)) {
      text_ = std::string(begun.substr(prefix_.size()));
    } else if (std::string_view(prefix_).starts_with(begun)) {
      return false;
    }
    has_begun_ = true;
  }
  if (Search()) return true;
  size_t held_back = 0;
  for (const std::string& s : stop_) held_back = std::max(held_back, HeldBack(text_, s));
  visible_ = text_.size() - held_back;
  return false;
}

bool AnswerText::Finish() {
  if (is_stopped_) return true;
  has_begun_ = true;
  if (Search()) return true;
  visible_ = text_.size();
  return false;
}

// The stop string that ends first cuts the text; of those that end together, the longest.
bool AnswerText::Search() {
  const size_t from = searched_ < longest_stop_ ? 0 : searched_ - longest_stop_ + 1;
  size_t first_begin = text_.size();
  size_t first_end = std::string::npos;
  for (const std::string& s : stop_) {
    const size_t begin = text_.find(s, from);
    if (begin == std::string::npos) continue;
    const size_t end = begin + s.size();
    if (end < first_end || (end == first_end && begin < first_begin)) {
      first_begin = begin;
      first_end = end;
    }
  }
  searched_ = text_.size();
  if (first_end == std::string::npos) return false;
  text_.resize(first_begin);
  visible_ = first_begin;
  is_stopped_ = true;
  return true;
}

std::string AnswerText::Take() {
  std::string_view part = std::string_view(text_).substr(taken_, visible_ - taken_);
  taken_ = visible_;
  if (!is_shown_) part = WithoutLeadingSpace(part);
  is_shown_ = is_shown_ || !part.empty();
  return std::string(part);
}

std::string AnswerText::answer() const {
  std::string_view text = WithoutLeadingSpace(text_);
  return std::string(text.substr(0, text.find_last_not_of(kWhiteSpace) + 1));
}

}  // namespace msa::engine
