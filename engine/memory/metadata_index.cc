#include "engine/memory/metadata_index.h"

#include <mutex>
#include <utility>
#include <vector>

#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

using Node = Filter::Node;

int64_t BytesOf(const MetadataValue& value) {
  const auto* const text = std::get_if<std::string>(&value);
  return static_cast<int64_t>(sizeof(value) + (text == nullptr ? 0 : text->size()));
}

}  // namespace

void MetadataIndex::Add(uint32_t number, const Metadata& metadata) {
  const std::unique_lock lock(mutex_);
  all_.Insert(number);
  for (const auto& [key, value] : metadata) {
    const auto [posting, is_new] = postings_[key].try_emplace(value);
    if (is_new) value_bytes_ += BytesOf(value);
    num_entries_ += posting->second.insert(number).second ? 1 : 0;
  }
}

void MetadataIndex::Remove(uint32_t number, const Metadata& metadata) {
  const std::unique_lock lock(mutex_);
  all_.Erase(number);
  for (const auto& [key, value] : metadata) {
    const auto postings = postings_.find(key);
    if (postings == postings_.end()) continue;
    const auto posting = postings->second.find(value);
    if (posting == postings->second.end()) continue;
    num_entries_ -= static_cast<int64_t>(posting->second.erase(number));
    if (!posting->second.empty()) continue;
    value_bytes_ -= BytesOf(value);
    postings->second.erase(posting);
    if (postings->second.empty()) postings_.erase(postings);
  }
}

absl::StatusOr<DocumentSet> MetadataIndex::Select(const Filter& filter,
                                                  NumbersOf numbers_of) const {
  const std::shared_lock lock(mutex_);
  return Evaluate(filter.root(), numbers_of);
}

int64_t MetadataIndex::resident_bytes() const {
  constexpr int64_t kBytesPerEntry = 8;   // of a B-tree of numbers, half to fully used nodes
  constexpr int64_t kBytesPerValue = 64;  // a posting and its place in the tree
  const std::shared_lock lock(mutex_);
  int64_t num_values = 0;
  for (const auto& [key, postings] : postings_) num_values += static_cast<int64_t>(postings.size());
  return num_entries_ * kBytesPerEntry + num_values * kBytesPerValue + value_bytes_ +
         all_.resident_bytes();
}

absl::StatusOr<DocumentSet> MetadataIndex::Evaluate(const Node& node, NumbersOf numbers_of) const {
  DocumentSet result;
  switch (node.kind) {
    case Node::Kind::kAnd:
    case Node::Kind::kOr:
      for (size_t i = 0; i < node.children.size(); ++i) {
        MSA_ASSIGN_OR_RETURN(DocumentSet child, Evaluate(node.children[i], numbers_of));
        if (i == 0) {
          result = std::move(child);
        } else if (node.kind == Node::Kind::kAnd) {
          result.IntersectWith(child);
        } else {
          result.UniteWith(child);
        }
      }
      return result;
    case Node::Kind::kNot: {
      MSA_ASSIGN_OR_RETURN(const DocumentSet child, Evaluate(node.children[0], numbers_of));
      result = all_.Copy();
      result.Subtract(child);
      return result;
    }
    case Node::Kind::kId: {
      MSA_ASSIGN_OR_RETURN(const std::vector<uint32_t> numbers,
                           numbers_of(std::get<std::string>(node.value)));
      for (const uint32_t number : numbers) result.Insert(number);
      if (node.op == Filter::Operator::kEqual) return result;
      DocumentSet others = all_.Copy();
      others.Subtract(result);
      return others;
    }
    case Node::Kind::kMetadata:
      return EvaluateMetadata(node);
  }
  return result;
}

DocumentSet MetadataIndex::EvaluateMetadata(const Node& node) const {
  using Operator = Filter::Operator;
  DocumentSet result;
  const auto found = postings_.find(node.key);
  if (found == postings_.end()) return result;
  const Postings& postings = found->second;
  const auto insert = [&result](const Numbers& numbers) {
    for (const uint32_t number : numbers) result.Insert(number);
  };
  if (node.op == Operator::kEqual) {
    const auto posting = postings.find(node.value);
    if (posting != postings.end()) insert(posting->second);
    return result;
  }
  // Values are in order, so those above a bound are one range.
  const bool is_above = node.op == Operator::kGreater || node.op == Operator::kGreaterOrEqual;
  for (auto posting = is_above ? postings.lower_bound(node.value) : postings.begin();
       posting != postings.end(); ++posting) {
    if (Compares(posting->first, node.op, node.value)) insert(posting->second);
  }
  return result;
}

}  // namespace msa::engine
