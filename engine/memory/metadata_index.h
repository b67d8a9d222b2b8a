#pragma once

#include <cstdint>
#include <map>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/memory/document_set.h"
#include "engine/memory/filter.h"

namespace msa::engine {

// Which documents have which metadata: per key and value the numbers that have it, so that a filter
// becomes a set without looking at every document. It holds every document that some query may see;
// which of them a query does see is its revision's business. Written by the bank's thread, read by
// any.
class MetadataIndex {
 public:
  void Add(uint32_t number, const Metadata& metadata);
  void Remove(uint32_t number, const Metadata& metadata);  // as it was added

  // Documents for which Filter::Matches is true. `numbers_of` tells the numbers that an id has.
  using NumbersOf = absl::FunctionRef<absl::StatusOr<std::vector<uint32_t>>(const std::string& id)>;
  absl::StatusOr<DocumentSet> Select(const Filter& filter, NumbersOf numbers_of) const;

  int64_t resident_bytes() const;  // about

 private:
  using Numbers = absl::btree_set<uint32_t>;
  using Postings = absl::btree_map<MetadataValue, Numbers>;

  absl::StatusOr<DocumentSet> Evaluate(const Filter::Node& node, NumbersOf numbers_of) const;
  DocumentSet EvaluateMetadata(const Filter::Node& node) const;

  mutable std::shared_mutex mutex_;
  // All under mutex_.
  DocumentSet all_;
  std::map<std::string, Postings, std::less<>> postings_;
  int64_t num_entries_ = 0;
  int64_t value_bytes_ = 0;
};

}  // namespace msa::engine
