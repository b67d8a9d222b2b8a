#include "engine/text/byte_pair_encoder.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include "kernels/core/check.h"

namespace msa::engine {
namespace {

// One call remembers this many different pieces up to this length.
constexpr size_t kMaxRememberedPieces = 1 << 16;
constexpr size_t kMaxRememberedBytes = 64;

constexpr int32_t kNone = -1;

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// A token of the piece. Those that remain are a linked list in the order of the text.
struct Symbol {
  int32_t id = kNone;  // kNone: merged into the symbol before it
  int32_t previous = kNone;
  int32_t next = kNone;
};

// A possible merge of the symbol at `position` with the next one. It has gone stale when the two
// have changed since.
struct Candidate {
  int32_t rank = 0;
  int32_t position = 0;
  int32_t result = 0;

  // std::push_heap keeps the largest on top.
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  }
};

}  // namespace

// Kept between the pieces of one call.
struct BytePairEncoder::Workspace {
  std::vector<Symbol> symbols;
  std::vector<Candidate> candidates;  // a heap
};

BytePairEncoder::BytePairEncoder(const std::array<int32_t, 256>& byte_ids,
                                 absl::Span<const Merge> merges, WholePieces whole_pieces)
    : byte_ids_(byte_ids), whole_pieces_(std::move(whole_pieces)) {
  merges_.reserve(merges.size());
  int32_t rank = 0;
  for (const Merge& merge : merges)
    merges_.try_emplace(PairKey(merge.left, merge.right), RankedMerge{rank++, merge.result});
}

void BytePairEncoder::Encode(absl::Span<const std::string_view> pieces,
                             std::vector<int32_t>* ids) const {
  // Words repeat: where in `ids` the tokens of a piece met before stand.
  struct Place {
    size_t begin = 0;
    size_t count = 0;
  };
  absl::flat_hash_map<std::string_view, Place> places;
  Workspace workspace;
  for (const std::string_view piece : pieces) {
    if (piece.size() > kMaxRememberedBytes) {
      EncodePiece(piece, workspace, ids);
      continue;
    }
    if (const auto found = places.find(piece); found != places.end()) {
      for (size_t i = 0; i < found->second.count; ++i)
        ids->push_back((*ids)[found->second.begin + i]);
      continue;
    }
    const size_t begin = ids->size();
    EncodePiece(piece, workspace, ids);
    if (places.size() < kMaxRememberedPieces)
      places.emplace(piece, Place{begin, ids->size() - begin});
  }
}

void BytePairEncoder::EncodePiece(std::string_view piece, Workspace& workspace,
                                  std::vector<int32_t>* ids) const {
  if (piece.empty()) return;
  if (const auto whole = whole_pieces_.find(piece); whole != whole_pieces_.end()) {
    ids->push_back(whole->second);
    return;
  }
  MSA_CHECK(piece.size() < std::numeric_limits<int32_t>::max(), "a piece of text of 2 GiB or more");
  const auto size = static_cast<int32_t>(piece.size());
  std::vector<Symbol>& symbols = workspace.symbols;
  symbols.resize(piece.size());
  for (int32_t i = 0; i < size; ++i) {
    const auto byte = static_cast<uint8_t>(piece[static_cast<size_t>(i)]);
    symbols[static_cast<size_t>(i)] = {byte_ids_[byte], i - 1, i + 1 < size ? i + 1 : kNone};
  }
  MergeSymbols(workspace);
  for (int32_t i = 0; i != kNone; i = symbols[static_cast<size_t>(i)].next) {
    ids->push_back(symbols[static_cast<size_t>(i)].id);
  }
}

void BytePairEncoder::MergeSymbols(Workspace& workspace) const {
  std::vector<Symbol>& symbols = workspace.symbols;
  std::vector<Candidate>& candidates = workspace.candidates;
  candidates.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) AddCandidate(static_cast<int32_t>(i), workspace);

  while (!candidates.empty()) {
    const Candidate best = candidates.front();
    std::pop_heap(candidates.begin(), candidates.end());
    candidates.pop_back();
    Symbol& left = symbols[static_cast<size_t>(best.position)];
    if (left.id == kNone || left.next == kNone) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    const auto merge = merges_.find(PairKey(left.id, right.id));
    if (merge == merges_.end() || merge->second.rank != best.rank) continue;  // stale

    left.id = best.result;
    left.next = right.next;
    right.id = kNone;
    if (left.next != kNone) symbols[static_cast<size_t>(left.next)].previous = best.position;
    if (left.previous != kNone) AddCandidate(left.previous, workspace);
    AddCandidate(best.position, workspace);
  }
}

void BytePairEncoder::AddCandidate(int32_t position, Workspace& workspace) const {
  const Symbol& left = workspace.symbols[static_cast<size_t>(position)];
  if (left.next == kNone) return;
  const Symbol& right = workspace.symbols[static_cast<size_t>(left.next)];
  const auto merge = merges_.find(PairKey(left.id, right.id));
  if (merge == merges_.end()) return;
  workspace.candidates.push_back({merge->second.rank, position, merge->second.result});
  std::push_heap(workspace.candidates.begin(), workspace.candidates.end());
}

}  // namespace msa::engine
