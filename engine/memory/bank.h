#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/memory/documents/bank_settings.h"
#include "engine/memory/documents/document.h"
#include "engine/memory/documents/document_set.h"
#include "engine/memory/documents/filter.h"
#include "engine/memory/job_monitor.h"
#include "engine/memory/shards/bank_pin.h"
#include "engine/memory/shards/shard.h"

namespace msa::engine {

struct BankInfo {
  std::string name;
  BankSettings settings;
  uint64_t revision = 0;
  absl::Time create_time;
  kernels::DType dtype = kernels::DType::kBF16;
  std::string model_fingerprint;
  absl::Status problem = {};  // not ok: it cannot be used; what could not be read is as above
};

struct BankStats {
  int64_t num_documents = 0;  // ACTIVE
  int64_t num_accepted = 0;   // waiting to be encoded
  int64_t num_failed = 0;
  int64_t num_tombstones = 0;    // deleted or superseded, not yet compacted
  int64_t num_tokens = 0;        // of ACTIVE documents
  int64_t num_chunks = 0;        // of ACTIVE documents
  int64_t reserved_tokens = 0;   // what counts against the budget
  int64_t router_key_bytes = 0;  // in memory
  int64_t content_bytes = 0;     // on disk
  int64_t text_bytes = 0;
  int64_t index_bytes = 0;  // ids and metadata in memory, about
  int64_t num_segments = 0;
  std::vector<int64_t> shard_documents;  // [R]
  std::vector<int64_t> shard_chunks;     // [R]
  uint64_t revision = 0;
};

// Something stored that is damaged, by name.
struct Damage {
  std::string file;         // within the bank's directory
  std::string document_id;  // empty where a whole file is concerned
  std::string message;
};

// A named, mutable set of documents and an access boundary. Thread-safe, but for the parts of
// `shard()` as said there. States: ACCEPTED (text synced in the catalog) -> ACTIVE (segment synced,
// published at a step boundary) | FAILED; DELETED.
class Bank {
 public:
  virtual ~Bank() = default;

  virtual BankInfo Info() const = 0;
  virtual BankStats Stats() const = 0;

  // `done` is called exactly once, when the acknowledgement level is reached or the document is
  // refused: INVALID_ARGUMENT (field, limit, actual), ALREADY_EXISTS, RESOURCE_EXHAUSTED (budget
  // with numbers; or too much in flight, with retry_after), UNAVAILABLE (stopping), ABORTED
  // (deleted before it was ACTIVE). It runs on the bank's thread without locks and must not block;
  // where the queue takes nothing (too much in flight, stopping) it runs in the caller before this
  // returns. Documents of one caller are accepted in the order of the calls; deletes overtake
  // documents that are not acknowledged. kUpsert with the same text and other metadata replaces the
  // metadata in place: number and encoding stay. OK with state kDeleted: a newer version of the id
  // was ACTIVE first.
  using IngestDone = absl::AnyInvocable<void(IngestResult)>;
  virtual void Ingest(DocumentInput document, IngestMode mode, AcknowledgeAt level,
                      IngestDone done) = 0;

  // The same for what is there: new metadata count at once, number and encoding stay; a new text
  // gets a new number. NOT_FOUND.
  virtual void Update(DocumentUpdate update, AcknowledgeAt level, IngestDone done) = 0;

  // Effective for every query that starts after `done`. All versions go, those that are not ACTIVE
  // yet too. Unknown ids are reported, not an error. `done` as in Ingest.
  struct DeleteResult {
    absl::Status status;
    int64_t num_deleted = 0;
    std::vector<std::string> unknown_ids;
    uint64_t revision = 0;
  };
  using DeleteDone = absl::AnyInvocable<void(DeleteResult)>;
  virtual void Delete(std::vector<std::string> ids, DeleteDone done) = 0;
  // The same for all documents whose newest version matches, at one revision.
  virtual void DeleteMatching(Filter filter, DeleteDone done) = 0;

  // INVALID_ARGUMENT, or the error of a write. `done` as in Ingest.
  using SettingsDone = absl::AnyInvocable<void(const absl::Status&)>;
  virtual void ChangeSettings(BankSettingsChange change, SettingsDone done) = 0;

  // Drops what was deleted or superseded, from memory, segments and catalog, and merges small
  // segments; queries and changes go on meanwhile, but for changes while the catalog is rewritten
  // at the end. `done` as in Delete, once no byte of what had gone before the call is in any file
  // of the bank, but for what running queries still see. UNAVAILABLE where the bank is read-only,
  // or stopping.
  struct CompactResult {
    absl::Status status;
    int64_t num_dropped = 0;   // documents
    int64_t freed_bytes = 0;   // of segments
    int64_t num_segments = 0;  // afterwards
    int64_t num_pinned = 0;    // deleted documents that running queries still see
  };
  using CompactDone = absl::AnyInvocable<void(CompactResult)>;
  virtual void Compact(CompactDone done) = 0;

  // Reads everything that is stored and checks it; queries and changes go on. Damaged documents are
  // taken from queries and encoded again from their texts. Blocks: not on a thread of the bank or
  // the engine. UNAVAILABLE on an I/O error.
  struct VerifyResult {
    int64_t num_documents = 0;
    int64_t num_segments = 0;
    int64_t checked_bytes = 0;  // of segments, rows and texts
    int64_t num_damages = 0;
  };
  using OnDamage = absl::FunctionRef<void(const Damage&)>;
  virtual absl::StatusOr<VerifyResult> Verify(JobMonitor* monitor, OnDamage on_damage) = 0;

  // The newest version of a document. NOT_FOUND.
  virtual absl::StatusOr<DocumentInfo> Get(const std::string& id, bool with_text) const = 0;
  // Documents that are not deleted and match (null: all), by id, after `after_id` (exclusive;
  // empty: from the start), at most `limit`; fewer, also none, after many that do not match.
  virtual absl::StatusOr<DocumentPage> List(const std::string& after_id, int64_t limit,
                                            bool with_text, const Filter* filter) const = 0;
  // Those of `numbers` that a query of the pin's revision may see, in the order of `numbers`;
  // others are left out.
  virtual absl::StatusOr<std::vector<DocumentInfo>> Read(absl::Span<const uint32_t> numbers,
                                                         const BankPin& pin,
                                                         bool with_text) const = 0;

  virtual std::unique_ptr<BankPin> Pin() = 0;
  // What a query that has pinned the bank may find: documents that match (null: all) and have one
  // of `ids` (empty: any); not without both. Their metadata count as they are now; which of them
  // are visible is the pin's business.
  virtual DocumentSet Select(const Filter* filter, absl::Span<const std::string> ids) const = 0;
  virtual int num_shards() const = 0;
  virtual const Shard& shard(int rank) const = 0;  // see Shard for threads
};

}  // namespace msa::engine
