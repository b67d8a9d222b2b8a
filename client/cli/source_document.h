#pragma once

#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace msa::client {

using MetadataValue = std::variant<std::string, double, bool>;
using Metadata = std::map<std::string, MetadataValue>;

// A document as the user's files hold it.
struct SourceDocument {
  std::string id;
  std::string text;
  Metadata metadata;
  std::string where;  // "docs.jsonl:12" or "notes/a.md": where it stands, for messages
};

// One line of JSON Lines: an object with `id` (string or integer), `text` (string, not empty) and
// optionally `metadata` (an object of strings, numbers and booleans). Keys that begin with "_" are
// ignored, so that a file of rejects can be read again; any other key is an error.
// INVALID_ARGUMENT: "WHERE: what is wrong and what is allowed".
absl::StatusOr<SourceDocument> ParseDocumentLine(std::string_view line, const std::string& where);

// An object of strings, numbers and booleans. Errors as above.
absl::StatusOr<Metadata> ParseMetadata(std::string_view json, const std::string& where);

// The line that ParseDocumentLine reads as `document`, without the line break. Whole numbers stand
// without a point.
std::string DocumentLine(const SourceDocument& document);

// One object, keys in byte order, numbers as above.
std::string MetadataText(const Metadata& metadata);

// The line with `_where` and `_error` added.
std::string RejectedDocumentLine(const SourceDocument& document, const absl::Status& error);
// The same for a line that could not be read: only `_where`, `_error` and the line itself as
// `_line`.
std::string RejectedRawLine(std::string_view line, const std::string& where,
                            const absl::Status& error);

}  // namespace msa::client
