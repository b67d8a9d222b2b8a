#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace msa::server {

// Every RPC, for metrics and logs.
enum class RpcMethod {
  kCreateBank,
  kGetBank,
  kListBanks,
  kUpdateBank,
  kDeleteBank,
  kIngestDocuments,
  kGetDocument,
  kUpdateDocument,
  kListDocuments,
  kExportDocuments,
  kDeleteDocuments,
  kGetBankStats,
  kGenerate,
  kRetrieve,
  kCountTokens,
  kGetServerInfo,
  kCompactBank,
  kVerifyBank,
  kBackupBank,
  kRestoreBank,
  kListBackups,
  kDeleteBackup,
  kReencodeBank,
};

inline constexpr std::array<std::string_view, 23> kRpcMethodNames = {
    "MemoryService/CreateBank",      "MemoryService/GetBank",
    "MemoryService/ListBanks",       "MemoryService/UpdateBank",
    "MemoryService/DeleteBank",      "MemoryService/IngestDocuments",
    "MemoryService/GetDocument",     "MemoryService/UpdateDocument",
    "MemoryService/ListDocuments",   "MemoryService/ExportDocuments",
    "MemoryService/DeleteDocuments", "MemoryService/GetBankStats",
    "QueryService/Generate",         "QueryService/Retrieve",
    "QueryService/CountTokens",      "AdminService/GetServerInfo",
    "AdminService/CompactBank",      "AdminService/VerifyBank",
    "AdminService/BackupBank",       "AdminService/RestoreBank",
    "AdminService/ListBackups",      "AdminService/DeleteBackup",
    "AdminService/ReencodeBank"};

constexpr std::string_view NameOf(RpcMethod method) {
  return kRpcMethodNames[static_cast<size_t>(method)];
}

}  // namespace msa::server
