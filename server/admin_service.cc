#include "server/admin_service.h"

#include <string>

#include "kernels/core/error_detail.h"
#include "kernels/core/status_macros.h"
#include "server/job_call.h"
#include "server/job_conversion.h"
#include "server/memory_conversion.h"
#include "server/request_validation.h"
#include "server/server_info.h"
#include "server/unary_call.h"
#include "server/watched_compaction.h"

namespace msa::server {
namespace {

absl::Status CheckBackups(const ServiceContext& service) {
  if (!service.engine->info().options.backup_dir.empty()) return absl::OkStatus();
  return kernels::WithDetail(
      absl::FailedPreconditionError(
          "this server keeps no backups: it was started without --backup-dir"),
      {.reason = "NO_BACKUP_DIRECTORY", .field = "", .metadata = {}, .retry_after = {}});
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::GetServerInfo(Context* context, const Bytes* in,
                                                      Bytes* out) {
  return RunUnary<v1::GetServerInfoRequest, v1::GetServerInfoResponse>(
      service_, RpcMethod::kGetServerInfo, context, in, out,
      [this](const v1::GetServerInfoRequest&, v1::GetServerInfoResponse* response) {
        *response = DescribeServer(service_);
        return absl::OkStatus();
      });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AdminService::CompactBank(Context* context,
                                                                      const Bytes* in) {
  using Job = JobOf<v1::CompactBankResponse>;
  return RunJob<v1::CompactBankRequest, v1::CompactBankResponse>(
      service_, RpcMethod::kCompactBank, context, in,
      [this](const v1::CompactBankRequest& request) -> absl::StatusOr<Job> {
        MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
        MSA_RETURN_IF_ERROR(service_.engine->banks().Get(request.bank()).status());
        return [this, request](JobCall* call, v1::CompactBankResponse* last) -> absl::Status {
          // Only now: it may have been closed or encoded again while the job waited.
          MSA_ASSIGN_OR_RETURN(auto bank, service_.engine->banks().Get(request.bank()));
          MSA_ASSIGN_OR_RETURN(const auto result, CompactAndWatch(bank, call));
          ToProto(result, last->mutable_result());
          return absl::OkStatus();
        };
      });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AdminService::VerifyBank(Context* context,
                                                                     const Bytes* in) {
  using Job = JobOf<v1::VerifyBankResponse>;
  return RunJob<v1::VerifyBankRequest, v1::VerifyBankResponse>(
      service_, RpcMethod::kVerifyBank, context, in,
      [this](const v1::VerifyBankRequest& request) -> absl::StatusOr<Job> {
        MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
        MSA_RETURN_IF_ERROR(service_.engine->banks().Get(request.bank()).status());
        return [this, request](JobCall* call, v1::VerifyBankResponse* last) -> absl::Status {
          // Only now: it may have been closed or encoded again while the job waited.
          MSA_ASSIGN_OR_RETURN(auto bank, service_.engine->banks().Get(request.bank()));
          const auto on_damage = [call](const engine::Damage& damage) {
            v1::VerifyBankResponse response;
            ToProto(damage, response.mutable_damage());
            call->Report(response);
          };
          MSA_ASSIGN_OR_RETURN(const auto result, bank->Verify(call, on_damage));
          ToProto(result, last->mutable_result());
          return absl::OkStatus();
        };
      });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AdminService::BackupBank(Context* context,
                                                                     const Bytes* in) {
  using Job = JobOf<v1::BackupBankResponse>;
  return RunJob<v1::BackupBankRequest, v1::BackupBankResponse>(
      service_, RpcMethod::kBackupBank, context, in,
      [this](const v1::BackupBankRequest& request) -> absl::StatusOr<Job> {
        MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
        MSA_RETURN_IF_ERROR(CheckNotEmpty("backup", request.backup()));
        MSA_RETURN_IF_ERROR(CheckBackups(service_));
        return [this, request](JobCall* call, v1::BackupBankResponse* last) -> absl::Status {
          MSA_ASSIGN_OR_RETURN(
              const engine::BackupInfo info,
              service_.engine->banks().Backup(request.bank(), request.backup(), call));
          ToProto(info, last->mutable_result());
          return absl::OkStatus();
        };
      });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AdminService::RestoreBank(Context* context,
                                                                      const Bytes* in) {
  using Job = JobOf<v1::RestoreBankResponse>;
  return RunJob<v1::RestoreBankRequest, v1::RestoreBankResponse>(
      service_, RpcMethod::kRestoreBank, context, in,
      [this](const v1::RestoreBankRequest& request) -> absl::StatusOr<Job> {
        MSA_RETURN_IF_ERROR(CheckNotEmpty("backup", request.backup()));
        MSA_RETURN_IF_ERROR(CheckBackups(service_));
        return [this, request](JobCall* call, v1::RestoreBankResponse* last) -> absl::Status {
          MSA_ASSIGN_OR_RETURN(
              const engine::BankInfo info,
              service_.engine->banks().Restore(request.backup(), request.bank(), call));
          ToProto(info, last->mutable_result());
          return absl::OkStatus();
        };
      });
}

grpc::ServerUnaryReactor* AdminService::ListBackups(Context* context, const Bytes* in, Bytes* out) {
  return RunUnary<v1::ListBackupsRequest, v1::ListBackupsResponse>(
      service_, RpcMethod::kListBackups, context, in, out,
      [this](const v1::ListBackupsRequest&, v1::ListBackupsResponse* response) -> absl::Status {
        MSA_RETURN_IF_ERROR(CheckBackups(service_));
        MSA_ASSIGN_OR_RETURN(const auto backups, service_.engine->banks().Backups());
        for (const engine::BackupInfo& info : backups) ToProto(info, response->add_backups());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdminService::DeleteBackup(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return RunUnary<v1::DeleteBackupRequest, v1::DeleteBackupResponse>(
      service_, RpcMethod::kDeleteBackup, context, in, out,
      [this](const v1::DeleteBackupRequest& request, v1::DeleteBackupResponse*) -> absl::Status {
        MSA_RETURN_IF_ERROR(service_.state->CheckReady());
        MSA_RETURN_IF_ERROR(CheckNotEmpty("backup", request.backup()));
        MSA_RETURN_IF_ERROR(CheckBackups(service_));
        return service_.engine->banks().DeleteBackup(request.backup());
      });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AdminService::ReencodeBank(Context* context,
                                                                       const Bytes* in) {
  using Job = JobOf<v1::ReencodeBankResponse>;
  return RunJob<v1::ReencodeBankRequest, v1::ReencodeBankResponse>(
      service_, RpcMethod::kReencodeBank, context, in,
      [this](const v1::ReencodeBankRequest& request) -> absl::StatusOr<Job> {
        MSA_RETURN_IF_ERROR(CheckBank(request.bank()));
        return [this, request](JobCall* call, v1::ReencodeBankResponse* last) -> absl::Status {
          MSA_ASSIGN_OR_RETURN(const engine::BankInfo info,
                               service_.engine->banks().Reencode(request.bank(), call));
          ToProto(info, last->mutable_result());
          return absl::OkStatus();
        };
      });
}

}  // namespace msa::server
