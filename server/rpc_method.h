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
  kDeleteBank,
  kIngestDocuments,
  kGetDocument,
  kListDocuments,
  kDeleteDocuments,
  kGetBankStats,
  kGenerate,
  kRetrieve,
  kCountTokens,
  kGetServerInfo,
  kCompactBank,
};

inline constexpr std::array<std::string_view, 14> kRpcMethodNames = {
    "MemoryService/CreateBank",    "MemoryService/GetBank",         "MemoryService/ListBanks",
    "MemoryService/DeleteBank",    "MemoryService/IngestDocuments", "MemoryService/GetDocument",
    "MemoryService/ListDocuments", "MemoryService/DeleteDocuments", "MemoryService/GetBankStats",
    "QueryService/Generate",       "QueryService/Retrieve",         "QueryService/CountTokens",
    "AdminService/GetServerInfo",  "AdminService/CompactBank"};

constexpr std::string_view NameOf(RpcMethod method) {
  return kRpcMethodNames[static_cast<size_t>(method)];
}

}  // namespace msa::server
