#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/ops/number_set.h"

namespace msa::engine {

// A set of document numbers, as bits in blocks of 65,536 numbers; a block that never had a
// member is not there. Not thread-safe while it changes.
class DocumentSet {
 public:
  void Insert(uint32_t number);
  void Erase(uint32_t number);
  bool Contains(uint32_t number) const { return view().Contains(number); }
  int64_t size() const;                   // counts
  std::vector<uint32_t> Numbers() const;  // ascending
  int64_t resident_bytes() const;

  void IntersectWith(const DocumentSet& other);
  void UniteWith(const DocumentSet& other);
  void Subtract(const DocumentSet& other);
  DocumentSet Copy() const;

  // What ScoreChunks takes; valid while the set lives unchanged.
  kernels::NumberSet view() const { return {views_}; }

 private:
  using Block = std::array<uint64_t, kernels::NumberSet::kWordsPerBlock>;

  Block* BlockAt(size_t index) { return index < blocks_.size() ? blocks_[index].get() : nullptr; }
  Block& MakeBlock(size_t index);

  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<const uint64_t*> views_;  // of blocks_
};

}  // namespace msa::engine
