#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/memory/documents/document.h"

namespace msa::engine {

inline constexpr int64_t kMaxFilterBytes = int64_t{16} << 10;
inline constexpr int kMaxFilterDepth = 64;
inline constexpr int kMaxFilterComparisons = 256;

// A condition on documents, after AIP-160:
//   filter     = term { "AND" term } | term { "OR" term }        both in one need parentheses
//   term       = "NOT" term | "(" filter ")" | comparison
//   comparison = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value | field ":*"
//   field      = "id" | "metadata." key
//   key        = a letter or "_", then letters, digits, "_" and "-"; any other like a string
//   value      = string in double quotes, with JSON's escapes | number | "true" | "false"
// A comparison holds where the document has the key, its value is of the literal's type, and they
// compare so: strings by bytes, numbers by value; bool and id take = and != only. `field:*` holds
// where the document has the key. So a document without the key is in neither `a = 1` nor `a != 1`,
// but in `NOT a = 1`. Immutable.
class Filter {
 public:
  enum class Operator { kEqual, kNotEqual, kLess, kLessOrEqual, kGreater, kGreaterOrEqual, kHas };
  struct Node {
    enum class Kind { kAnd, kOr, kNot, kId, kMetadata };
    Kind kind = Kind::kAnd;
    std::vector<Node> children;  // kAnd, kOr: two or more; kNot: one
    std::string key;             // kMetadata
    Operator op = Operator::kEqual;
    MetadataValue value;  // kId: a string
  };

  // INVALID_ARGUMENT (INVALID_FILTER) says at which byte, what was expected and what is there.
  static absl::StatusOr<Filter> Parse(std::string_view text);

  bool Matches(std::string_view id, const Metadata& metadata) const;
  const Node& root() const { return root_; }

 private:
  explicit Filter(Node root) : root_(std::move(root)) {}

  Node root_;
};

// Whether `actual op wanted` for values of one type; false for values of two.
bool Compares(const MetadataValue& actual, Filter::Operator op, const MetadataValue& wanted);

}  // namespace msa::engine
