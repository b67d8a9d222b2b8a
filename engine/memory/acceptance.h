#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "engine/memory/acknowledgements.h"
#include "engine/memory/bank_parts.h"
#include "engine/memory/encoding_queue.h"

namespace msa::engine {

// The first stage of a bank's thread: takes deletes, changes of settings and ingests from the inbox
// and applies them to the catalog, many in one transaction (group commit). Nothing outside the
// catalog changes and nobody gets a reply before the transaction is synced; when it fails, all of
// its requests are refused.
class Acceptance {
 public:
  Acceptance(BankParts* parts, EncodingQueue* queue, Acknowledgements* acknowledgements)
      : parts_(parts), queue_(queue), acknowledgements_(acknowledgements) {}

  // Ingests wait while so many documents wait for the encoder.
  bool takes_ingests() const;

  // One transaction: all deletes, and ingests for a few milliseconds while they are taken.
  void Run();

  // Replies `status` to all that is in the inbox.
  void RefuseAll(const absl::Status& status);

 private:
  using Reply = absl::AnyInvocable<void(const absl::Status&)>;

  struct Accepted {
    DocumentRow row;
    std::vector<int32_t> token_ids;
  };
  // What a transaction will have done once it is committed.
  struct Batch {
    uint64_t next_number = 0;
    uint64_t revision = 0;  // of what queries no longer see
    bool changes_catalog = false;
    std::vector<Accepted> accepted;
    std::vector<DocumentRow> failed;                           // at once
    std::vector<DocumentRow> removed;                          // as they were
    std::vector<std::pair<DocumentRow, DocumentRow>> changed;  // metadata: before, after
    std::optional<BankSettings> settings;                      // changed
    std::vector<Reply> replies;                                // take the transaction's status
  };

  // These return an error of the catalog, which ends the transaction. What concerns one request
  // alone is in its result.
  absl::Status Delete(const std::vector<std::string>& ids, Bank::DeleteResult* result,
                      Batch* batch);
  absl::Status DeleteMatching(const Filter& filter, Bank::DeleteResult* result, Batch* batch);
  absl::Status ChangeSettings(const BankSettingsChange& change, absl::Status* result, Batch* batch);
  absl::Status Ingest(IngestRequest* request, IngestResult* result, Batch* batch);
  // What the request keeps of the document that is there.
  absl::Status FillIn(const DocumentRow& current, IngestRequest* request, IngestResult* result);
  absl::Status DeleteVersions(const std::vector<DocumentRow>& versions, Bank::DeleteResult* result,
                              Batch* batch);
  // With the newest version; false where a new version is needed.
  absl::StatusOr<bool> Compare(const IngestRequest& request, const DocumentRow& current,
                               IngestResult* result, Batch* batch);
  absl::Status Accept(const IngestRequest& request, const std::vector<DocumentRow>& versions,
                      IngestResult* result, Batch* batch);
  absl::Status Remove(const DocumentRow& row, Batch* batch);

  Reply ReplyTo(Bank::DeleteDone done, Bank::DeleteResult result);
  Reply ReplyTo(Bank::IngestDone done, AcknowledgeAt level, IngestResult result);
  absl::Status Commit(const Batch& batch);
  void TakeEffect(Batch* batch);

  BankParts* const parts_;
  EncodingQueue* const queue_;
  Acknowledgements* const acknowledgements_;
};

}  // namespace msa::engine
