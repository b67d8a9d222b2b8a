#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace msa::engine {

// Flat metadata of a document.
using MetadataValue = std::variant<std::string, double, bool>;
using Metadata = std::map<std::string, MetadataValue>;

// What a client hands in.
struct DocumentInput {
  // The user's, unique among a bank's documents; 1 to 512 bytes of UTF-8 without control
  // characters.
  std::string id;
  std::string text;  // UTF-8; may be empty (the API asks clients for some text)
  Metadata metadata;
  // The number that the model reads and prints. Unset: the bank's next one. Set by restores and
  // tests only.
  std::optional<uint32_t> number;
};

// What is set replaces what the document had.
struct DocumentUpdate {
  std::string id;
  std::optional<std::string> text;
  std::optional<Metadata> metadata;
};

enum class DocumentState { kAccepted, kActive, kFailed, kDeleted };

struct DocumentInfo {
  std::string id;
  uint32_t number = 0;
  DocumentState state = DocumentState::kAccepted;
  Metadata metadata;
  std::string text;  // empty unless asked for
  int64_t num_tokens = 0;
  int64_t num_chunks = 0;
  int64_t text_bytes = 0;
  uint64_t revision =
      0;           // of the bank, from which queries see the document; 0 while ACCEPTED or FAILED
  int shard = -1;  // -1 unless ACTIVE
  absl::Time create_time;
  absl::Status failure;  // why, when FAILED
};

struct DocumentPage {
  std::vector<DocumentInfo> documents;  // by id
  std::string next_after_id;            // where the next page goes on; empty: this is the last
};

enum class IngestMode {
  kInsert,      // the same id with another text or metadata is ALREADY_EXISTS
  kUpsert,      // replaces text and metadata; the old version is served until the new one is ACTIVE
  kUpdateOnly,  // the same, but an id that is not there is NOT_FOUND
};

// When an ingest is acknowledged: the text is synced, or queries see it.
enum class AcknowledgeAt { kAccepted, kActive };

struct IngestResult {
  absl::Status status;
  std::string id;
  uint32_t number = 0;
  DocumentState state = DocumentState::kFailed;
  int64_t num_tokens = 0;
  int64_t num_chunks = 0;
  uint64_t revision = 0;
  bool deduplicated = false;  // the same id, text and metadata was there already: nothing changed
};

}  // namespace msa::engine
