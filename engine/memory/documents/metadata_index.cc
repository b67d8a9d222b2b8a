#include "engine/memory/documents/metadata_index.h"

#include <mutex>
#include <utility>

namespace msa::engine {
namespace {

using Node = Filter::Node;

int64_t BytesOf(const MetadataValue& value) {
  const auto* const text = std::get_if<std::string>(&value);
  return static_cast<int64_t>(sizeof(value) + (text == nullptr ? 0 : text->size()));
}

int64_t BytesOfId(const std::string& id) {
  constexpr int64_t kBytesPerEntry = 64;  // of a B-tree, half to fully used nodes
  return kBytesPerEntry + static_cast<int64_t>(id.size());
}

}  // namespace

int64_t MetadataIndex::Add(uint32_t number, const std::string& id, const Metadata& metadata) {
  const std::unique_lock lock(mutex_);
  const int64_t before = ResidentBytes();
  all_.Insert(number);
  if (ids_.emplace(id, number).second) id_bytes_ += BytesOfId(id);
  for (const auto& [key, value] : metadata) AddTo(&postings_[key], number, value);
  return ResidentBytes() - before;
}

int64_t MetadataIndex::Remove(uint32_t number, const std::string& id, const Metadata& metadata) {
  const std::unique_lock lock(mutex_);
  const int64_t before = ResidentBytes();
  all_.Erase(number);
  if (ids_.erase({id, number}) != 0) id_bytes_ -= BytesOfId(id);
  for (const auto& [key, value] : metadata) {
    const auto postings = postings_.find(key);
    if (postings == postings_.end()) continue;
    RemoveFrom(&postings->second, number, value);
    if (postings->second.empty()) postings_.erase(postings);
  }
  return ResidentBytes() - before;
}

void MetadataIndex::AddTo(Postings* postings, uint32_t number, const MetadataValue& value) {
  const auto [posting, is_new] = postings->try_emplace(value);
  if (is_new) {
    num_values_ += 1;
    value_bytes_ += BytesOf(value);
  }
  num_entries_ += posting->second.insert(number).second ? 1 : 0;
}

void MetadataIndex::RemoveFrom(Postings* postings, uint32_t number, const MetadataValue& value) {
  const auto posting = postings->find(value);
  if (posting == postings->end()) return;
  num_entries_ -= static_cast<int64_t>(posting->second.erase(number));
  if (!posting->second.empty()) return;
  num_values_ -= 1;
  value_bytes_ -= BytesOf(value);
  postings->erase(posting);
}

bool MetadataIndex::Contains(uint32_t number) const {
  const std::shared_lock lock(mutex_);
  return all_.Contains(number);
}

DocumentSet MetadataIndex::Select(const Filter& filter) const {
  const std::shared_lock lock(mutex_);
  return Evaluate(filter.root());
}

DocumentSet MetadataIndex::SelectIds(absl::Span<const std::string> ids) const {
  const std::shared_lock lock(mutex_);
  DocumentSet result;
  for (const std::string& id : ids) InsertId(id, &result);
  return result;
}

int64_t MetadataIndex::resident_bytes() const {
  const std::shared_lock lock(mutex_);
  return ResidentBytes();
}

int64_t MetadataIndex::ResidentBytes() const {
  constexpr int64_t kBytesPerEntry = 8;   // of a B-tree of numbers, half to fully used nodes
  constexpr int64_t kBytesPerValue = 64;  // a posting and its place in the tree
  return num_entries_ * kBytesPerEntry + num_values_ * kBytesPerValue + value_bytes_ + id_bytes_ +
         all_.resident_bytes();
}

void MetadataIndex::InsertId(const std::string& id, DocumentSet* set) const {
  for (auto entry = ids_.lower_bound({id, 0}); entry != ids_.end() && entry->first == id; ++entry) {
    set->Insert(entry->second);
  }
}

void MetadataIndex::Insert(const Postings& postings, const MetadataValue& value, DocumentSet* set) {
  const auto posting = postings.find(value);
  if (posting == postings.end()) return;
  for (const uint32_t number : posting->second) set->Insert(number);
}

DocumentSet MetadataIndex::Evaluate(const Node& node) const {
  DocumentSet result;
  switch (node.kind) {
    case Node::Kind::kAnd:
    case Node::Kind::kOr:
      for (const Node& child : node.children) {
        if (&child == &node.children.front()) {
          result = Evaluate(child);
        } else if (node.kind == Node::Kind::kAnd) {
          result.IntersectWith(Evaluate(child));
        } else {
          result.UniteWith(Evaluate(child));
        }
      }
      return result;
    case Node::Kind::kNot:
      return AllBut(Evaluate(node.children[0]));
    case Node::Kind::kId:
      InsertId(std::get<std::string>(node.value), &result);
      if (node.op == Filter::Operator::kEqual) return result;
      return AllBut(result);
    case Node::Kind::kMetadata:
      const auto found = postings_.find(node.key);
      return found == postings_.end() ? DocumentSet() : EvaluateComparison(found->second, node);
  }
  return result;
}

DocumentSet MetadataIndex::AllBut(const DocumentSet& set) const {
  DocumentSet result = all_.Copy();
  result.Subtract(set);
  return result;
}

DocumentSet MetadataIndex::EvaluateComparison(const Postings& postings, const Node& node) {
  using Operator = Filter::Operator;
  DocumentSet result;
  if (node.op == Operator::kEqual) {
    Insert(postings, node.value, &result);
    return result;
  }
  // Values are in order, so those above a bound are one range.
  const bool is_above = node.op == Operator::kGreater || node.op == Operator::kGreaterOrEqual;
  for (auto posting = is_above ? postings.lower_bound(node.value) : postings.begin();
       posting != postings.end(); ++posting) {
    if (!Compares(posting->first, node.op, node.value)) continue;
    for (const uint32_t number : posting->second) result.Insert(number);
  }
  return result;
}

}  // namespace msa::engine
