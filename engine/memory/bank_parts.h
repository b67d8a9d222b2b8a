#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "engine/memory/admission.h"
#include "engine/memory/bank_inbox.h"
#include "engine/memory/bank_ledger.h"
#include "engine/memory/bank_store.h"
#include "engine/memory/catalog/catalog.h"
#include "engine/memory/documents/metadata_index.h"
#include "engine/memory/documents/metadata_json.h"
#include "engine/memory/segment_table.h"
#include "engine/memory/segments/segment_files.h"
#include "engine/memory/segments/segment_reader.h"
#include "engine/memory/shards/visible_bank.h"

namespace msa::engine {

// What the stages of a bank's thread work on together. The members in the second group belong to
// that thread alone.
struct BankParts {
  std::string name;
  BankStoreOptions options;
  DocumentEncoder* encoder = nullptr;
  Clock* clock = nullptr;
  MemoryObserver* observer = nullptr;                // never null
  std::function<void(int64_t num_bytes)> make_room;  // as BankEnvironment's
  std::shared_ptr<BankInbox> inbox;
  std::shared_ptr<VisibleBank> visible;
  std::shared_ptr<SegmentFiles> segments;
  std::unique_ptr<BankLedger> ledger;
  std::unique_ptr<MetadataIndex> index;

  Catalog* catalog = nullptr;
  std::unique_ptr<Admission> admission;
  uint64_t next_number = 0;
  uint64_t revision = 0;      // the newest committed; queries see it after the next step boundary
  uint64_t next_segment = 1;  // file names are not used twice, also not after a failure
  std::deque<std::pair<uint64_t, uint32_t>>
      deleted_rows;  // to_revision, number; ascending: to purge
  SegmentTable segment_table;
  absl::flat_hash_set<uint32_t> damaged_rows;  // as the bank was opened: nothing else counts them
  bool shards_have_dead = false;  // something was retired since they were last compacted
  absl::Status write_failure;     // not ok: the bank is read-only

  // After a write that failed. A full disk passes; anything else leaves the catalog or a file in
  // doubt, and the bank stays read-only until it is opened again.
  void NoteWriteFailure(const absl::Status& status) {
    observer->ProblemFound(name, status);
    if (absl::IsResourceExhausted(status)) return;
    write_failure = status;
    ledger->SetWriteFailure(status);
  }

  const MemoryGeometry& geometry() const { return options.geometry; }
  // What the router keys of so many chunks take in memory, in the files with the content, and the
  // content alone.
  int64_t KeyBytes(int64_t num_chunks) const { return num_chunks * visible->key_bytes_per_chunk(); }
  int64_t StoredBytes(int64_t num_chunks) const {
    return num_chunks * geometry().router_key_bytes_per_chunk() + ContentBytes(num_chunks);
  }
  int64_t ContentBytes(int64_t num_chunks) const {
    return num_chunks * geometry().content_bytes_per_chunk();
  }

  // Tells the bank's thread of what is damaged.
  absl::StatusOr<std::unique_ptr<SegmentReader>> OpenSegment(uint64_t segment_id) const {
    return SegmentReader::Open(segments, segment_id, geometry(),
                               [inbox = inbox, segment_id](uint32_t number) {
                                 inbox->PushDamaged({number, segment_id});
                               });
  }

  // The file of a segment that was not committed. After a commit in doubt it stays: the catalog may
  // name it, and the next start knows.
  void DropUncommitted(uint64_t segment_id) {
    if (write_failure.ok()) {
      segments->Remove(segment_id).IgnoreError();
    } else {
      segments->Forget(segment_id);
    }
  }

  // Before a document becomes visible. What ids and metadata take counts against the memory for
  // router keys, so that no document is accepted when both have used it up.
  void AddToIndex(const DocumentRow& row) {
    const absl::StatusOr<Metadata> metadata = MetadataFromJson(row.metadata_json);
    admission->ReserveAnyway(
        0, index->Add(row.number, row.id, metadata.ok() ? *metadata : Metadata()));
  }
  // When no query can see it any more.
  void RemoveFromIndex(const DocumentRow& row) {
    const absl::StatusOr<Metadata> metadata = MetadataFromJson(row.metadata_json);
    admission->Release(0,
                       -index->Remove(row.number, row.id, metadata.ok() ? *metadata : Metadata()));
  }

  // Makes a committed revision visible at the next step boundary. In the order of the revisions.
  void Publish(Publication publication) {
    encoder->AtStepBoundary([bank = visible, change = std::move(publication)]() mutable {
      bank->Publish(std::move(change));
    });
  }
};

}  // namespace msa::engine
