#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/bank_parts.h"

namespace msa::engine {

// What a transaction has done to the catalog and will mean to everything else once it is committed.
struct BankChanges {
  struct Accepted {
    DocumentRow row;
    std::vector<int32_t> token_ids;
  };
  bool changes_catalog = false;
  uint64_t next_number = 0;
  uint64_t revision = 0;  // of what queries no longer see
  std::vector<Accepted> accepted;
  std::vector<DocumentRow> failed;                           // at once
  std::vector<DocumentRow> removed;                          // as they were
  std::vector<std::pair<DocumentRow, DocumentRow>> changed;  // metadata: before, after
  std::optional<BankSettings> settings;                      // changed
};

// One transaction of a bank's thread: deletes, changes of settings and ingests, request by request.
// What concerns one request alone is in its result; an error of the catalog ends the transaction:
// nothing more is applied, and Commit returns it. Outside the catalog nothing changes but what is
// reserved for ACCEPTED documents, for which idle banks may be closed.
class BankTransaction {
 public:
  explicit BankTransaction(BankParts* parts);  // begins

  void Apply(const DeleteRequest& request, Bank::DeleteResult* result);
  void Apply(const SettingsRequest& request, absl::Status* result);
  // Fills in what the request keeps of the document that is there.
  void Apply(IngestRequest* request, IngestResult* result);

  // Once, at the end: everything is synced, or nothing is there and what was reserved is given back.
  absl::Status Commit();
  BankChanges& changes() { return changes_; }  // after a Commit that was ok

 private:
  absl::Status Delete(const std::vector<std::string>& ids, Bank::DeleteResult* result);
  absl::StatusOr<bool> PurgeDamaged(const std::string& id);  // whether any went
  absl::Status DeleteMatching(const Filter& filter, Bank::DeleteResult* result);
  absl::Status DeleteVersions(const std::vector<DocumentRow>& versions, Bank::DeleteResult* result);
  absl::Status Remove(const DocumentRow& row);
  absl::Status ChangeSettings(const BankSettingsChange& change);
  absl::Status Ingest(IngestRequest* request, IngestResult* result);
  absl::Status FillIn(const DocumentRow& current, IngestRequest* request, IngestResult* result);
  // With the newest version; false where a new version is needed.
  absl::StatusOr<bool> Compare(const IngestRequest& request, const DocumentRow& current,
                               IngestResult* result);
  absl::Status Accept(const IngestRequest& request, const std::vector<DocumentRow>& versions,
                      IngestResult* result);
  absl::Status PutSettings();

  BankParts* const parts_;
  BankChanges changes_;
  absl::Status status_;  // of the catalog
};

}  // namespace msa::engine
