#pragma once

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "engine/memory/acknowledgements.h"
#include "engine/memory/bank_parts.h"
#include "engine/memory/encoding_queue.h"

namespace msa::engine {

struct BankChanges;

// The first stage of a bank's thread: takes deletes, changes of settings and ingests from the
// inbox, many into one transaction (group commit). Nothing outside the catalog changes and nobody
// gets a reply before the transaction is synced; when it fails, all of its requests are refused.
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

  Reply ReplyTo(Bank::DeleteDone done, Bank::DeleteResult result);
  Reply ReplyTo(Bank::IngestDone done, AcknowledgeAt level, IngestResult result);
  void TakeEffect(BankChanges* changes);

  BankParts* const parts_;
  EncodingQueue* const queue_;
  Acknowledgements* const acknowledgements_;
};

}  // namespace msa::engine
