#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "engine/generation/token_trie.h"

namespace msa::engine {

// A string that ends a round: one special token, or spelled with ordinary tokens.
struct RoundMarker {
  std::optional<int32_t> special_id;
  std::string text;  // used without special_id
};

// What the model may write in the retrieval phase: citations "[n]" of this round's selected
// documents, each at most once, and then one marker. Works on bytes, so that a token may hold a
// part of a citation ("[1"), the end of one and the beginning of another ("]["), or several. One
// thread at a time.
class CitationConstraint {
 public:
  // `trie` must outlive the object. No marker may begin with another one or with "[".
  CitationConstraint(const TokenTrie* trie, RoundMarker citations_end, RoundMarker end_of_retrieve);

  // A new round. `numbers`: the documents that may be cited. `must_end`: the only thing that may
  // be written is end_of_retrieve.
  void Begin(absl::Span<const uint32_t> numbers, int max_citations, bool must_end);

  // Ids of the tokens that may come next: ascending, distinct. Empty once a marker is complete, and
  // in a vocabulary that cannot spell what has to follow (one without a token for every byte).
  // Valid until the next Begin or Advance.
  absl::Span<const int32_t> allowed() const { return allowed_; }

  // Takes the next token; false, and nothing changes, if it is not one of allowed().
  bool Advance(int32_t token_id, std::string_view bytes);

 private:
  // A string that may stand at the current place: a citation, or a spelled marker.
  struct Option {
    std::string text;
    bool is_citation = true;
    bool is_open = true;  // false: a citation that has been written
  };
  // The options that share their first `depth` bytes, all of which have been written.
  struct Place {
    size_t begin = 0;
    size_t end = 0;
    size_t depth = 0;
    int num_citations = 0;
    bool is_done = false;  // a marker is complete
  };

  Place Root(int num_citations) const { return {0, options_.size(), 0, num_citations, false}; }
  bool MayFollow(const Option& option, int num_citations) const;
  // The place after `byte`, closing the option that it completes (its index in `*closed`).
  std::optional<Place> Step(const Place& place, char byte, std::optional<size_t>* closed);
  void Collect(const Place& place, const TokenTrie::Node& node);
  void ComputeAllowed();

  const TokenTrie* const trie_;
  const RoundMarker citations_end_;
  const RoundMarker end_of_retrieve_;
  std::vector<int32_t> marker_ids_;  // special ids that end this round
  std::vector<Option> options_;      // by text
  int max_citations_ = 0;
  Place place_;
  std::vector<int32_t> allowed_;
};

}  // namespace msa::engine
