#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace msa::engine {

// Byte-level BPE: a piece of text begins as one token per byte; then, as long as there is one, the
// neighbouring pair with the lowest rank becomes one token, leftmost first (Sennrich et al. 2016,
// section 3.2). A piece of n bytes takes O(n log n) time. Immutable, thread-safe.
class BytePairEncoder {
 public:
  struct Merge {
    int32_t left = 0;  // token ids
    int32_t right = 0;
    int32_t result = 0;
  };
  using WholePieces = absl::flat_hash_map<std::string_view, int32_t>;

  // `byte_ids`: the token of each byte. `merges`: in order of rank, lowest first, every pair at
  // most once. `whole_pieces`: pieces that become one token without looking at the merges; empty
  // for plain BPE. The bytes that its keys point to must outlive the encoder.
  BytePairEncoder(const std::array<int32_t, 256>& byte_ids, absl::Span<const Merge> merges,
                  WholePieces whole_pieces);

  // Appends the tokens of each piece to `ids`.
  void Encode(absl::Span<const std::string_view> pieces, std::vector<int32_t>* ids) const;

 private:
  struct RankedMerge {
    int32_t rank = 0;
    int32_t result = 0;
  };
  struct Workspace;

  void EncodePiece(std::string_view piece, Workspace& workspace, std::vector<int32_t>* ids) const;
  void MergeSymbols(Workspace& workspace) const;
  // Queues the merge of the symbol at `position` with the one after it, if there is such a merge.
  void AddCandidate(int32_t position, Workspace& workspace) const;

  std::array<int32_t, 256> byte_ids_;
  absl::flat_hash_map<uint64_t, RankedMerge> merges_;  // by pair of token ids
  WholePieces whole_pieces_;
};

}  // namespace msa::engine
