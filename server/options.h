#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine_options.h"

namespace msa::server {

// Everything that can be set, by section. Names, ranges and help are in option_table.cc; defaults
// are here.
struct ServerOptions {
  struct Listen {
    std::string host = "127.0.0.1";
    int64_t port = 7411;                 // 0: any free one
    bool allow_insecure_remote = false;  // plaintext on an address that other machines reach
    std::string port_file;  // gets "grpc PORT\nmetrics PORT\n" once the server listens; empty: none
  } listen;

  struct Model {
    std::string dir;
    std::string device = "cpu";
    std::string compute_dtype = "bf16";
    std::string instruction_set;  // empty: the best this machine has
    int64_t threads = 0;          // 0: the cores this process may use
  } model;

  struct Memory {
    std::string data_dir;
    std::string backup_dir;  // empty: there can be no backups
    int64_t shards = 1;
    std::string bank_dtype = "bf16";
    int64_t router_key_bytes = engine::EngineOptions{}.router_key_memory_bytes;
    int64_t kv_bytes = engine::EngineOptions{}.kv_memory_bytes;
    int64_t activation_bytes = engine::EngineOptions{}.activation_bytes;
    absl::Duration scrub_interval = absl::Hours(24);  // 0: never
    int64_t scrub_bytes_per_second = engine::EngineOptions{}.scrub_bytes_per_second;
  } memory;

  struct Scheduler {
    int64_t max_running = engine::EngineOptions{}.max_running;
    int64_t max_queued_requests = engine::EngineOptions{}.max_queued_requests;
    int64_t max_queued_tokens = engine::EngineOptions{}.max_queued_tokens;
    absl::Duration slice_time = engine::EngineOptions{}.slice_time;
    absl::Duration stalled_reader_timeout = engine::EngineOptions{}.stalled_reader_timeout;
  } scheduler;

  struct Drain {
    absl::Duration grace = absl::Seconds(30);
  } drain;

  struct Observability {
    bool metrics = true;
    std::string metrics_host = "127.0.0.1";
    int64_t metrics_port = 9464;  // 0: any free one
    std::string log_format = "text";
    std::string log_level = "info";
    bool reflection = true;
  } observability;

  // The largest values that requests may ask for.
  struct Limits {
    int64_t max_document_bytes = engine::EngineOptions{}.max_document_bytes;
    int64_t max_question_bytes = engine::EngineOptions{}.max_question_bytes;
    int64_t max_rounds = 64;
    int64_t max_citations = 256;
    int64_t max_retrieval_tokens = 8192;
    int64_t max_answer_tokens = 8192;
    int64_t max_expansion_bytes = int64_t{16} << 20;
    int64_t max_in_flight_documents = 256;  // per ingest stream
    int64_t max_in_flight_bytes = int64_t{16} << 20;
  } limits;
};

// What a single option's range cannot say: required ones, loopback unless allowed otherwise.
// INVALID_ARGUMENT, one line.
absl::Status CheckOptions(const ServerOptions& options);

// The engine's part. `options` were checked.
engine::EngineOptions ToEngineOptions(const ServerOptions& options);

// "host:port", an IPv6 host in brackets.
std::string JoinHostPort(const std::string& host, int64_t port);

}  // namespace msa::server
