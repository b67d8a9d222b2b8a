#pragma once

#include <cstdint>
#include <map>
#include <shared_mutex>
#include <string>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/types/span.h"
#include "engine/memory/documents/document_set.h"
#include "engine/memory/documents/filter.h"

namespace msa::engine {

// Which documents have which id and metadata: per key and value the numbers that have it, so that a
// filter becomes a set without looking at every document. It holds every document that some query
// may see; which of them a query does see is its revision's business. Written by one
// thread at a time, read by any.
class MetadataIndex {
 public:
  // These return by how much resident_bytes() has grown.
  int64_t Add(uint32_t number, const std::string& id, const Metadata& metadata);
  int64_t Remove(uint32_t number, const std::string& id, const Metadata& metadata);  // as added

  bool Contains(uint32_t number) const;
  // Documents for which Filter::Matches is true.
  DocumentSet Select(const Filter& filter) const;
  DocumentSet SelectIds(absl::Span<const std::string> ids) const;

  int64_t resident_bytes() const;  // about; without walking anything

 private:
  using Numbers = absl::btree_set<uint32_t>;
  using Postings = absl::btree_map<MetadataValue, Numbers>;

  static void Insert(const Postings& postings, const MetadataValue& value, DocumentSet* set);
  void InsertId(const std::string& id, DocumentSet* set) const;
  int64_t ResidentBytes() const;
  void AddTo(Postings* postings, uint32_t number, const MetadataValue& value);
  void RemoveFrom(Postings* postings, uint32_t number, const MetadataValue& value);
  DocumentSet Evaluate(const Filter::Node& node) const;
  DocumentSet AllBut(const DocumentSet& set) const;
  static DocumentSet EvaluateComparison(const Postings& postings, const Filter::Node& node);

  mutable std::shared_mutex mutex_;
  // All under mutex_.
  DocumentSet all_;
  absl::btree_set<std::pair<std::string, uint32_t>> ids_;
  int64_t id_bytes_ = 0;
  std::map<std::string, Postings, std::less<>> postings_;
  int64_t num_values_ = 0;
  int64_t num_entries_ = 0;
  int64_t value_bytes_ = 0;
};

}  // namespace msa::engine
