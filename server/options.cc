#include "server/options.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"

namespace msa::server {
namespace {

bool IsLoopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof(v4));
    return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof(v6));
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
  }
  return false;
}

// Whether every address of `host` is this machine's own.
absl::StatusOr<bool> IsLoopbackHost(const std::string& name, const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " \"", host, "\" is not an address: ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (!IsLoopback(entry->ai_addr)) return false;
  }
  return true;
}

absl::Status CheckHost(const std::string& name, const std::string& host, bool allow_remote) {
  absl::StatusOr<bool> loopback = IsLoopbackHost(name, host);
  MSA_RETURN_IF_ERROR(loopback.status());
  if (*loopback || allow_remote) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " ", host,
                   " is reached by other machines, and connections are neither encrypted nor "
                   "authenticated; use a loopback "
                   "address such as 127.0.0.1, or say --allow-insecure-remote"));
}

}  // namespace

absl::Status CheckOptions(const ServerOptions& options) {
  if (options.model.dir.empty()) {
    return absl::InvalidArgumentError(
        "model.dir is missing: say --model DIR, a directory with config.json and weights");
  }
  if (options.memory.data_dir.empty()) {
    return absl::InvalidArgumentError(
        "memory.data_dir is missing: say --data-dir DIR, where the banks are kept");
  }
  const bool allow_remote = options.listen.allow_insecure_remote;
  MSA_RETURN_IF_ERROR(CheckHost("listen.host", options.listen.host, allow_remote));
  if (options.observability.metrics) {
    MSA_RETURN_IF_ERROR(
        CheckHost("observability.metrics_host", options.observability.metrics_host, allow_remote));
  }
  return absl::OkStatus();
}

engine::EngineOptions ToEngineOptions(const ServerOptions& options) {
  engine::EngineOptions engine;
  engine.model_dir = options.model.dir;
  engine.data_dir = options.memory.data_dir;
  engine.backup_dir = options.memory.backup_dir;
  engine.device =
      options.model.device == "cuda" ? kernels::DeviceKind::kCuda : kernels::DeviceKind::kCpu;
  engine.num_shards = static_cast<int>(options.memory.shards);
  engine.num_threads = static_cast<int>(options.model.threads);
  engine.compute_dtype = options.model.compute_dtype == "f32" ? kernels::ComputeDType::kF32
                                                              : kernels::ComputeDType::kBF16;
  engine.bank_dtype =
      options.memory.bank_dtype == "f32" ? kernels::DType::kF32 : kernels::DType::kBF16;
  engine.max_running = options.scheduler.max_running;
  engine.max_queued_requests = options.scheduler.max_queued_requests;
  engine.max_queued_tokens = options.scheduler.max_queued_tokens;
  engine.max_question_bytes = options.limits.max_question_bytes;
  engine.kv_memory_bytes = options.memory.kv_bytes;
  engine.activation_bytes = options.memory.activation_bytes;
  engine.router_key_memory_bytes = options.memory.router_key_bytes;
  engine.max_document_bytes = options.limits.max_document_bytes;
  if (options.memory.scrub_interval > absl::ZeroDuration())
    engine.scrub_interval = options.memory.scrub_interval;
  engine.scrub_bytes_per_second = options.memory.scrub_bytes_per_second;
  engine.slice_time = options.scheduler.slice_time;
  engine.stalled_reader_timeout = options.scheduler.stalled_reader_timeout;
  return engine;
}

std::string JoinHostPort(const std::string& host, int64_t port) {
  const bool bracket = host.find(':') != std::string::npos && host.front() != '[';
  return bracket ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

}  // namespace msa::server
