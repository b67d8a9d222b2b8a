#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/memory/bank.h"
#include "engine/memory/document_encoder.h"

namespace msa::engine {

struct IngestRequest {
  DocumentInput document;
  IngestMode mode = IngestMode::kInsert;
  bool keeps_text = false;      // of the document that is there; only with kUpdateOnly
  bool keeps_metadata = false;  // the same
  // Of a bank that is built anew: only the model's limits count and the budgets, and what the model
  // cannot encode is FAILED.
  bool is_original = false;
  absl::Time create_time;  // with is_original
  absl::Status failure;    // with is_original; not ok: the document is FAILED
  AcknowledgeAt level = AcknowledgeAt::kAccepted;
  Bank::IngestDone done;
};

struct DeleteRequest {
  std::vector<std::string> ids;
  std::optional<Filter> filter;  // set: what matches, and no ids
  Bank::DeleteDone done;
};

struct SettingsRequest {
  BankSettingsChange change;
  Bank::SettingsDone done;
};

struct CompactRequest {
  Bank::CompactDone done;
};

struct DamagedDocument {
  uint32_t number = 0;
  uint64_t segment = 0;  // where it is damaged
};

struct EncodeResult {
  uint32_t number = 0;
  absl::StatusOr<EncodedDocument> encoded;
};

// What reaches a bank's thread. Requests are bounded, by count and bytes; events (encoded
// documents, damage, a poke) are bounded by those who cause them. Thread-safe; outlives the bank
// where the encoder still holds callbacks.
class BankInbox {
 public:
  BankInbox(int64_t max_requests, int64_t max_bytes)
      : max_requests_(max_requests), max_bytes_(max_bytes) {}

  // RESOURCE_EXHAUSTED (with retry_after) or UNAVAILABLE: then the request is not taken.
  absl::Status PushIngest(IngestRequest& request);
  absl::Status PushDelete(DeleteRequest& request);
  absl::Status PushSettings(SettingsRequest& request);
  absl::Status PushCompact(CompactRequest& request);

  void PushEncoded(EncodeResult result);
  void PushDamaged(DamagedDocument document);
  void Poke();  // something else has changed: go round once

  void RefuseIngest();  // from now on, UNAVAILABLE
  // Ingests, deletes and settings get `reason`, until it is ok.
  void RefuseChanges(const absl::Status& reason);
  void Close();  // refuses everything; the bank's thread ends

  bool is_closed() const;

  // Waits until the bank has nothing to do; false when `timeout` is over.
  bool WaitIdle(absl::Duration timeout);

  // ---- the bank's thread
  // Sleeps until there is something to take (ingests count only where `takes_ingests`), or for
  // `timeout`. False: closed. `is_idle`: there is nothing to do for the bank but what is in here.
  bool Wait(bool takes_ingests, bool is_idle, absl::Duration timeout);
  std::optional<IngestRequest> PopIngest();
  std::vector<DeleteRequest> TakeDeletes();
  std::vector<SettingsRequest> TakeSettings();
  std::vector<CompactRequest> TakeCompacts();
  std::vector<EncodeResult> TakeEncoded();
  std::vector<DamagedDocument> TakeDamaged();
  bool has_ingests() const;
  bool refuses_ingest() const;

 private:
  template <class Request>
  absl::Status Push(Request& request, const char* what, std::vector<Request>* requests,
                    const absl::Status& refusal);
  bool HasEvents() const;

  const int64_t max_requests_;
  const int64_t max_bytes_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable idle_changed_;
  // All under mutex_.
  std::deque<IngestRequest> ingests_;
  int64_t ingest_bytes_ = 0;
  std::vector<DeleteRequest> deletes_;
  std::vector<SettingsRequest> settings_;
  std::vector<CompactRequest> compacts_;
  std::vector<EncodeResult> encoded_;
  std::vector<DamagedDocument> damaged_;
  bool poked_ = false;
  bool refuses_ingest_ = false;
  absl::Status changes_refusal_;
  bool closed_ = false;
  bool is_idle_ = false;
};

}  // namespace msa::engine
