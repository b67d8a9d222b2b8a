#include "engine/generation/citations.h"

#include <algorithm>
#include <limits>

namespace msa::engine {

std::vector<uint32_t> FindCitations(std::string_view text, size_t max_citations) {
  constexpr uint64_t kMaxNumber = std::numeric_limits<uint32_t>::max();
  std::vector<uint32_t> numbers;
  for (size_t open = text.find('[');
       open != std::string_view::npos && numbers.size() < max_citations;
       open = text.find('[', open + 1)) {
    size_t i = open + 1;
    uint64_t number = 0;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
      // Stays above kMaxNumber once it is there, without overflow.
      number = std::min(number * 10 + static_cast<uint64_t>(text[i] - '0'), kMaxNumber + 1);
    }
    const bool is_citation = i > open + 1 && i < text.size() && text[i] == ']';
    if (!is_citation || number > kMaxNumber) continue;
    const auto value = static_cast<uint32_t>(number);
    if (std::find(numbers.begin(), numbers.end(), value) == numbers.end()) numbers.push_back(value);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace msa::engine
