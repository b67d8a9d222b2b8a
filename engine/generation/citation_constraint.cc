#include "engine/generation/citation_constraint.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace msa::engine {

CitationConstraint::CitationConstraint(const TokenTrie* trie, RoundMarker citations_end,
                                       RoundMarker end_of_retrieve)
    : trie_(trie),
      citations_end_(std::move(citations_end)),
      end_of_retrieve_(std::move(end_of_retrieve)) {}

void CitationConstraint::Begin(absl::Span<const uint32_t> numbers, int max_citations,
                               bool must_end) {
  options_.clear();
  marker_ids_.clear();
  const auto add_marker = [this](const RoundMarker& marker) {
    if (marker.special_id.has_value()) {
      marker_ids_.push_back(*marker.special_id);
    } else {
      options_.push_back({marker.text, /*is_citation=*/false, /*is_open=*/true});
    }
  };
  add_marker(end_of_retrieve_);
  if (!must_end) {
    add_marker(citations_end_);
    for (uint32_t number : numbers) options_.push_back({absl::StrCat("[", number, "]")});
  }
  std::sort(options_.begin(), options_.end(),
            [](const Option& a, const Option& b) { return a.text < b.text; });
  const auto same = [](const Option& a, const Option& b) { return a.text == b.text; };
  options_.erase(std::unique(options_.begin(), options_.end(), same), options_.end());
  max_citations_ = max_citations;
  place_ = Root(0);
  ComputeAllowed();
}

bool CitationConstraint::MayFollow(const Option& option, int num_citations) const {
  return option.is_open && (!option.is_citation || num_citations < max_citations_);
}

std::optional<CitationConstraint::Place> CitationConstraint::Step(const Place& place, char byte,
                                                                  std::optional<size_t>* closed) {
  closed->reset();
  if (place.is_done) return std::nullopt;
  const auto first_from = [&](int wanted) {
    const auto is_below = [&](const Option& option) {
      return static_cast<uint8_t>(option.text[place.depth]) < wanted;
    };
    return std::partition_point(options_.begin() + static_cast<ptrdiff_t>(place.begin),
                                options_.begin() + static_cast<ptrdiff_t>(place.end), is_below);
  };
  const auto begin = first_from(static_cast<uint8_t>(byte));
  const auto end = first_from(static_cast<uint8_t>(byte) + 1);
  const bool is_open = std::any_of(
      begin, end, [&](const Option& option) { return MayFollow(option, place.num_citations); });
  if (!is_open) return std::nullopt;
  const Place next{static_cast<size_t>(begin - options_.begin()),
                   static_cast<size_t>(end - options_.begin()), place.depth + 1,
                   place.num_citations, false};
  // No option begins with another one, so a complete one is alone.
  Option& option = options_[next.begin];
  if (option.text.size() > next.depth) return next;
  if (!option.is_citation) return Place{.is_done = true};
  option.is_open = false;
  *closed = next.begin;
  return Root(place.num_citations + 1);
}

void CitationConstraint::Collect(const Place& place, const TokenTrie::Node& node) {
  if (node.depth > 0) {
    const absl::Span<const int32_t> ids = trie_->TokensAt(node);
    allowed_.insert(allowed_.end(), ids.begin(), ids.end());
  }
  if (place.is_done) return;
  for (size_t i = place.begin; i < place.end;) {
    const char byte = options_[i].text[place.depth];
    std::optional<size_t> closed;
    if (const auto child = trie_->Child(node, byte); child.has_value()) {
      if (const auto next = Step(place, byte, &closed); next.has_value()) Collect(*next, *child);
      if (closed.has_value()) options_[*closed].is_open = true;  // it was only tried
    }
    while (i < place.end && options_[i].text[place.depth] == byte) ++i;
  }
}

void CitationConstraint::ComputeAllowed() {
  allowed_.clear();
  if (place_.is_done) return;
  if (place_.depth == 0) allowed_ = marker_ids_;
  Collect(place_, trie_->root());
  std::sort(allowed_.begin(), allowed_.end());
}

bool CitationConstraint::Advance(int32_t token_id, std::string_view bytes) {
  if (!std::binary_search(allowed_.begin(), allowed_.end(), token_id)) return false;
  if (std::find(marker_ids_.begin(), marker_ids_.end(), token_id) != marker_ids_.end()) {
    place_.is_done = true;
  } else {
    for (char byte : bytes) {
      std::optional<size_t> closed;
      if (const auto next = Step(place_, byte, &closed); next.has_value()) place_ = *next;
    }
  }
  ComputeAllowed();
  return true;
}

}  // namespace msa::engine
