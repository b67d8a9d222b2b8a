#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/retry_policy.h"
#include "msa/v1/admin_service.pb.h"
#include "msa/v1/memory_service.pb.h"
#include "msa/v1/query_service.pb.h"

namespace msa::client {

struct ClientOptions {
  std::string server = "127.0.0.1:7411";              // host:port, or unix:PATH
  absl::Duration timeout = absl::InfiniteDuration();  // of each attempt of a call, but long jobs
  RetryPolicy retry;
};

class Connection;

// A connection to one server. Requests and responses are the messages of proto/msa/v1, whose
// comments give units and bounds. Errors carry what the server says about them (error_details.h); a
// server that cannot be reached is UNAVAILABLE. Calls that fail with a hope are made again
// (retry_policy.h). Thread-safe; every call blocks.
class Client {
 public:
  // Connects with the first call. INVALID_ARGUMENT for an empty address.
  static absl::StatusOr<std::unique_ptr<Client>> Create(ClientOptions options);
  ~Client();

  // ---- banks
  absl::StatusOr<v1::Bank> CreateBank(const std::string& bank, const v1::BankSettings& settings);
  absl::StatusOr<v1::Bank> GetBank(const std::string& bank);
  absl::StatusOr<std::vector<v1::Bank>> ListBanks();
  // Changes the settings that `paths` names: "display_name", "token_budget", "default_limits",
  // "router_key_scan".
  absl::StatusOr<v1::Bank> UpdateBank(const std::string& bank, const v1::BankSettings& settings,
                                      const std::vector<std::string>& paths);
  absl::Status DeleteBank(const std::string& bank, bool force);
  absl::StatusOr<v1::BankStats> GetBankStats(const std::string& bank);

  // ---- long jobs: they wait until it is done, however long it takes, and hand on how far it has
  // come. Cancel ends them on the server too, but for compaction. Not made again once begun.
  using OnProgress = std::function<void(const v1::JobProgress&)>;
  using OnDamage = std::function<void(const v1::Damage&)>;
  absl::StatusOr<v1::CompactResult> CompactBank(const std::string& bank,
                                                const OnProgress& on_progress = {});
  // `on_damage` may hear of the first 1,000 damages only; the result has the count of all.
  absl::StatusOr<v1::VerifyResult> VerifyBank(const std::string& bank, const OnDamage& on_damage,
                                              const OnProgress& on_progress = {});
  absl::StatusOr<v1::Backup> BackupBank(const std::string& bank, const std::string& backup,
                                        const OnProgress& on_progress = {});
  // `bank` empty: the one that was backed up.
  absl::StatusOr<v1::Bank> RestoreBank(const std::string& backup, const std::string& bank,
                                       const OnProgress& on_progress = {});
  absl::StatusOr<v1::Bank> ReencodeBank(const std::string& bank,
                                        const OnProgress& on_progress = {});

  // ---- backups
  absl::StatusOr<std::vector<v1::Backup>> ListBackups();
  absl::Status DeleteBackup(const std::string& backup);

  // ---- documents; adding them is IngestStream's (ingest_stream.h)
  absl::StatusOr<v1::Document> GetDocument(const std::string& bank, const std::string& document_id,
                                           bool with_text);
  // All documents that match (docs/filters.md; empty: all) by id, page by page, until `on_document`
  // returns false.
  absl::Status ListDocuments(const std::string& bank, const std::string& filter, bool with_text,
                             const std::function<bool(const v1::Document&)>& on_document);
  // The same with texts as one stream, without a timeout. Not made again once documents have come.
  absl::Status ExportDocuments(const std::string& bank, const std::string& filter,
                               const std::function<bool(const v1::Document&)>& on_document);
  // `update`: bank, id, what is new, and which of "text" and "metadata" it is.
  absl::StatusOr<v1::Document> UpdateDocument(const v1::UpdateDocumentRequest& update);
  // Any number of ids. An error leaves those that stood before the failed part deleted.
  absl::StatusOr<v1::DeleteDocumentsResponse> DeleteDocuments(
      const std::string& bank, const std::vector<std::string>& document_ids);
  absl::StatusOr<v1::DeleteDocumentsResponse> DeleteMatching(const std::string& bank,
                                                             const std::string& filter);

  // ---- queries
  // Hands every event of the answer to `on_event`, on this thread; returns the last one. Made again
  // only as long as no event has come.
  absl::StatusOr<v1::GenerateFinished> Generate(
      const v1::GenerateRequest& request,
      const std::function<void(const v1::GenerateResponse&)>& on_event);
  absl::StatusOr<v1::RetrieveResponse> Retrieve(const v1::RetrieveRequest& request);
  absl::StatusOr<v1::CountTokensResponse> CountTokens(const std::string& text);

  // ---- the server
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo();
  // Whether grpc.health.v1.Health says SERVING. `service`: empty for the whole server. Never
  // retried.
  absl::StatusOr<bool> CheckHealth(const std::string& service);

  // Ends all running calls and refuses later ones, with CANCELLED. Callable from any thread.
  void Cancel();

 private:
  friend class IngestStream;

  explicit Client(ClientOptions options);

  const std::unique_ptr<Connection> connection_;
};

}  // namespace msa::client
