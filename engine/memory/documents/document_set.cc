#include "engine/memory/documents/document_set.h"

#include <algorithm>
#include <bit>

namespace msa::engine {
namespace {

uint64_t BitOf(uint32_t number) { return uint64_t{1} << (number % 64); }
size_t WordOf(uint32_t number) { return number / 64 % kernels::NumberSet::kWordsPerBlock; }
size_t BlockOf(uint32_t number) { return number / kernels::NumberSet::kNumbersPerBlock; }

}  // namespace

DocumentSet::Block& DocumentSet::MakeBlock(size_t index) {
  if (index >= blocks_.size()) {
    blocks_.resize(index + 1);
    views_.resize(index + 1);
  }
  if (blocks_[index] == nullptr) {
    blocks_[index] = std::make_unique<Block>();
    views_[index] = blocks_[index]->data();
  }
  return *blocks_[index];
}

void DocumentSet::Insert(uint32_t number) {
  MakeBlock(BlockOf(number))[WordOf(number)] |= BitOf(number);
}

void DocumentSet::Erase(uint32_t number) {
  if (Block* const block = BlockAt(BlockOf(number))) (*block)[WordOf(number)] &= ~BitOf(number);
}

int64_t DocumentSet::size() const {
  int64_t count = 0;
  for (const std::unique_ptr<Block>& block : blocks_) {
    if (block == nullptr) continue;
    for (const uint64_t word : *block) count += std::popcount(word);
  }
  return count;
}

std::vector<uint32_t> DocumentSet::Numbers() const {
  std::vector<uint32_t> numbers;
  for (size_t block = 0; block < blocks_.size(); ++block) {
    if (blocks_[block] == nullptr) continue;
    for (size_t word = 0; word < blocks_[block]->size(); ++word) {
      for (uint64_t bits = (*blocks_[block])[word]; bits != 0; bits &= bits - 1) {
        numbers.push_back(
            static_cast<uint32_t>(block * kernels::NumberSet::kNumbersPerBlock + word * 64) +
            static_cast<uint32_t>(std::countr_zero(bits)));
      }
    }
  }
  return numbers;
}

int64_t DocumentSet::resident_bytes() const {
  const auto is_there = [](const std::unique_ptr<Block>& block) { return block != nullptr; };
  return static_cast<int64_t>(blocks_.capacity() * 2 * sizeof(void*)) +
         std::count_if(blocks_.begin(), blocks_.end(), is_there) *
             static_cast<int64_t>(sizeof(Block));
}

void DocumentSet::IntersectWith(const DocumentSet& other) {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i] == nullptr) continue;
    const Block* const block = i < other.blocks_.size() ? other.blocks_[i].get() : nullptr;
    if (block == nullptr) {
      blocks_[i] = nullptr;
      views_[i] = nullptr;
      continue;
    }
    for (size_t word = 0; word < block->size(); ++word) (*blocks_[i])[word] &= (*block)[word];
  }
}

void DocumentSet::UniteWith(const DocumentSet& other) {
  for (size_t i = 0; i < other.blocks_.size(); ++i) {
    if (other.blocks_[i] == nullptr) continue;
    Block& block = MakeBlock(i);
    for (size_t word = 0; word < block.size(); ++word) block[word] |= (*other.blocks_[i])[word];
  }
}

void DocumentSet::Subtract(const DocumentSet& other) {
  for (size_t i = 0; i < std::min(blocks_.size(), other.blocks_.size()); ++i) {
    if (blocks_[i] == nullptr || other.blocks_[i] == nullptr) continue;
    Block& block = *blocks_[i];
    for (size_t word = 0; word < block.size(); ++word) block[word] &= ~(*other.blocks_[i])[word];
  }
}

DocumentSet DocumentSet::Copy() const {
  DocumentSet copy;
  copy.UniteWith(*this);
  return copy;
}

}  // namespace msa::engine
