#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/cpp/client.h"
#include "client/cpp/connection.h"
#include "client/cpp/error_details.h"
#include "client/cpp/unary_call.h"

// The calls of Client that the server answers with a stream: long jobs and exports.
namespace msa::client {
namespace {

// Hands every message to `on_message` until it returns false. Made again as the retry policy says
// as long as no message has come; `repeatable` as in Connection::Retrying. Without a deadline.
template <class Stub, class Request, class Response>
absl::Status ReadStream(Connection* connection, Stub& stub,
                        std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
                            grpc::ClientContext*, const Request&),
                        const Request& request, bool repeatable,
                        const std::function<bool(const Response&)>& on_message) {
  for (int attempts = 1;; ++attempts) {
    ActiveCall call(&connection->calls(), absl::InfiniteDuration());
    const auto reader = (stub.*method)(call.context(), request);
    bool has_message = false;
    Response message;
    while (reader->Read(&message)) {
      has_message = true;
      if (on_message(message)) continue;
      call.context()->TryCancel();
      reader->Finish();
      return absl::OkStatus();
    }
    const absl::Status status = ToAbslStatus(reader->Finish());
    if (status.ok() || has_message) return status;
    const std::optional<absl::Duration> wait =
        WaitBeforeRetry(connection->options().retry, status, attempts, repeatable);
    if (!wait.has_value() || !connection->calls().Wait(*wait)) return status;
  }
}

// A job whose stream ends with a `result`; other events but progress go to `on_event`.
template <class Request, class Response>
absl::StatusOr<Response> RunJob(Connection* connection,
                                std::unique_ptr<grpc::ClientReader<Response>> (
                                    v1::AdminService::Stub::*method)(grpc::ClientContext*,
                                                                     const Request&),
                                const Request& request, bool repeatable,
                                const Client::OnProgress& on_progress,
                                const std::function<void(const Response&)>& on_event = {}) {
  std::optional<Response> last;
  const absl::Status status = ReadStream<v1::AdminService::Stub, Request, Response>(
      connection, connection->admin(), method, request, repeatable, [&](const Response& response) {
        if (response.has_result()) {
          last = response;
        } else if (!response.has_progress()) {
          if (on_event != nullptr) on_event(response);
        } else if (on_progress != nullptr) {
          on_progress(response.progress());
        }
        return true;
      });
  if (!status.ok()) return status;
  if (!last) return absl::InternalError("the server ended the job without `result`");
  return *std::move(last);
}

}  // namespace

absl::StatusOr<v1::CompactResult> Client::CompactBank(const std::string& bank,
                                                      const OnProgress& on_progress) {
  v1::CompactBankRequest request;
  request.set_bank(bank);
  auto response = RunJob(connection_.get(), &v1::AdminService::Stub::CompactBank, request,
                         /*repeatable=*/true, on_progress);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_result());
}

absl::StatusOr<v1::VerifyResult> Client::VerifyBank(const std::string& bank,
                                                    const OnDamage& on_damage,
                                                    const OnProgress& on_progress) {
  v1::VerifyBankRequest request;
  request.set_bank(bank);
  auto response = RunJob<v1::VerifyBankRequest, v1::VerifyBankResponse>(
      connection_.get(), &v1::AdminService::Stub::VerifyBank, request, /*repeatable=*/true,
      on_progress, [&on_damage](const v1::VerifyBankResponse& event) {
        if (event.has_damage() && on_damage != nullptr) on_damage(event.damage());
      });
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_result());
}

absl::StatusOr<v1::Backup> Client::BackupBank(const std::string& bank, const std::string& backup,
                                              const OnProgress& on_progress) {
  v1::BackupBankRequest request;
  request.set_bank(bank);
  request.set_backup(backup);
  auto response = RunJob(connection_.get(), &v1::AdminService::Stub::BackupBank, request,
                         /*repeatable=*/false, on_progress);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_result());
}

absl::StatusOr<v1::Bank> Client::RestoreBank(const std::string& backup, const std::string& bank,
                                             const OnProgress& on_progress) {
  v1::RestoreBankRequest request;
  request.set_backup(backup);
  request.set_bank(bank);
  auto response = RunJob(connection_.get(), &v1::AdminService::Stub::RestoreBank, request,
                         /*repeatable=*/false, on_progress);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_result());
}

absl::StatusOr<v1::Bank> Client::ReencodeBank(const std::string& bank,
                                              const OnProgress& on_progress) {
  v1::ReencodeBankRequest request;
  request.set_bank(bank);
  auto response = RunJob(connection_.get(), &v1::AdminService::Stub::ReencodeBank, request,
                         /*repeatable=*/true, on_progress);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_result());
}

absl::StatusOr<std::vector<v1::Backup>> Client::ListBackups() {
  const absl::StatusOr<v1::ListBackupsResponse> response =
      CallUnary(connection_.get(), connection_->admin(), &v1::AdminService::Stub::ListBackups,
                v1::ListBackupsRequest(), /*repeatable=*/true);
  if (!response.ok()) return response.status();
  return std::vector<v1::Backup>(response->backups().begin(), response->backups().end());
}

absl::Status Client::DeleteBackup(const std::string& backup) {
  v1::DeleteBackupRequest request;
  request.set_backup(backup);
  return CallUnary(connection_.get(), connection_->admin(), &v1::AdminService::Stub::DeleteBackup,
                   request, /*repeatable=*/false)
      .status();
}

absl::Status Client::ExportDocuments(const std::string& bank, const std::string& filter,
                                     const std::function<bool(const v1::Document&)>& on_document) {
  v1::ExportDocumentsRequest request;
  request.set_bank(bank);
  request.set_filter(filter);
  const std::function<bool(const v1::ExportDocumentsResponse&)> on_page =
      [&on_document](const v1::ExportDocumentsResponse& page) {
        for (const v1::Document& document : page.documents()) {
          if (!on_document(document)) return false;
        }
        return true;
      };
  return ReadStream(connection_.get(), connection_->memory(),
                    &v1::MemoryService::Stub::ExportDocuments, request, /*repeatable=*/true,
                    on_page);
}

}  // namespace msa::client
