#include "server/option_table.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"
#include "server/option_value.h"

namespace msa::server {
namespace {

constexpr int64_t kKiB = int64_t{1} << 10;
constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kGiB = int64_t{1} << 30;
constexpr int64_t kTiB = int64_t{1} << 40;

// Builds the table: `In` names the section, then one call per option. A `Field` reaches its value
// in ServerOptions.
class Builder {
 public:
  void In(std::string section) { section_ = std::move(section); }

  template <class Field>
  void Text(std::string key, std::string flag, std::string placeholder, std::string help,
            Field field) {
    Add(
        std::move(key), std::move(flag), std::move(placeholder), std::move(help),
        [field](ServerOptions* options, std::string_view text) {
          field(*options) = std::string(text);
          return absl::OkStatus();
        },
        [field](ServerOptions options) { return field(options); });
  }

  template <class Field>
  void Choice(std::string key, std::string flag, std::vector<std::string> allowed, std::string help,
              Field field) {
    std::string placeholder;
    for (const std::string& one : allowed)
      absl::StrAppend(&placeholder, placeholder.empty() ? "" : "|", one);
    Add(
        std::move(key), std::move(flag), std::move(placeholder), std::move(help),
        [field, allowed](ServerOptions* options, std::string_view text) -> absl::Status {
          MSA_ASSIGN_OR_RETURN(field(*options), ParseChoice(text, allowed));
          return absl::OkStatus();
        },
        [field](ServerOptions options) { return field(options); });
  }

  template <class Field>
  void Switch(std::string key, std::string flag, std::string help, Field field) {
    Add(
        std::move(key), std::move(flag), "", std::move(help),
        [field](ServerOptions* options, std::string_view text) -> absl::Status {
          MSA_ASSIGN_OR_RETURN(field(*options), ParseBool(text));
          return absl::OkStatus();
        },
        [field](ServerOptions options) { return std::string(field(options) ? "true" : "false"); });
  }

  template <class Field>
  void Count(std::string key, std::string flag, int64_t least, int64_t most, std::string help,
             Field field) {
    Add(
        std::move(key), std::move(flag), "N", absl::StrCat(help, "; ", least, " to ", most),
        [=](ServerOptions* options, std::string_view text) -> absl::Status {
          MSA_ASSIGN_OR_RETURN(field(*options), ParseCount(text, least, most));
          return absl::OkStatus();
        },
        [field](ServerOptions options) { return absl::StrCat(field(options)); });
  }

  template <class Field>
  void Bytes(std::string key, std::string flag, int64_t least, int64_t most, std::string help,
             Field field) {
    Add(
        std::move(key), std::move(flag), "BYTES",
        absl::StrCat(help, "; ", FormatBytes(least), " to ", FormatBytes(most)),
        [=](ServerOptions* options, std::string_view text) -> absl::Status {
          MSA_ASSIGN_OR_RETURN(field(*options), ParseBytes(text, least, most));
          return absl::OkStatus();
        },
        [field](ServerOptions options) { return FormatBytes(field(options)); });
  }

  template <class Field>
  void Time(std::string key, std::string flag, absl::Duration least, absl::Duration most,
            std::string help, Field field) {
    Add(
        std::move(key), std::move(flag), "TIME",
        absl::StrCat(help, "; ", absl::FormatDuration(least), " to ", absl::FormatDuration(most)),
        [=](ServerOptions* options, std::string_view text) -> absl::Status {
          MSA_ASSIGN_OR_RETURN(field(*options), ParseTime(text, least, most));
          return absl::OkStatus();
        },
        [field](ServerOptions options) { return absl::FormatDuration(field(options)); });
  }

  std::vector<Option> Take() { return std::move(table_); }

 private:
  void Add(std::string key, std::string flag, std::string placeholder, std::string help,
           std::function<absl::Status(ServerOptions*, std::string_view)> set,
           std::function<std::string(const ServerOptions&)> get) {
    table_.push_back({section_, std::move(key), std::move(flag), std::move(placeholder),
                      std::move(help), std::move(set), std::move(get)});
  }

  std::string section_;
  std::vector<Option> table_;
};

void AddServing(Builder* b) {
  using O = ServerOptions;
  b->In("listen");
  b->Text(
      "host", "--host", "ADDRESS", "address of the gRPC port",
      [](O & o) -> auto& { return o.listen.host; });
  b->Count(
      "port", "--port", 0, 65535, "gRPC port, 0 for any free one",
      [](O & o) -> auto& { return o.listen.port; });
  b->Switch(
      "allow_insecure_remote", "--allow-insecure-remote",
      "serve plaintext without authentication on addresses that other machines reach",
      [](O & o) -> auto& { return o.listen.allow_insecure_remote; });
  b->Text(
      "port_file", "--port-file", "FILE",
      "write the ports to FILE (\"grpc N\", \"metrics N\") once the server listens",
      [](O & o) -> auto& { return o.listen.port_file; });

  b->In("model");
  b->Text(
      "dir", "--model", "DIR", "model directory: config.json, tokenizer.json, *.safetensors",
      [](O & o) -> auto& { return o.model.dir; });
  b->Choice(
      "device", "--device", {"cpu", "cuda"}, "what computes",
      [](O & o) -> auto& { return o.model.device; });
  b->Choice(
      "compute_dtype", "--compute-dtype", {"bf16", "f32"}, "how products are computed",
      [](O & o) -> auto& { return o.model.compute_dtype; });
  b->Text(
      "instruction_set", "--instruction-set", "NAME",
      "use a lower one than this machine has, such as avx2",
      [](O & o) -> auto& { return o.model.instruction_set; });
  b->Count(
      "threads", "--threads", 0, 4096, "threads that compute, 0 for all cores",
      [](O & o) -> auto& { return o.model.threads; });

  b->In("memory");
  b->Text(
      "data_dir", "--data-dir", "DIR", "where the banks are kept",
      [](O & o) -> auto& { return o.memory.data_dir; });
  b->Text(
      "backup_dir", "--backup-dir", "DIR",
      "where backups of banks are kept, better on another disk; without it there are none",
      [](O & o) -> auto& { return o.memory.backup_dir; });
  b->Count(
      "shards", "--shards", 1, 64, "ranks that every bank is spread over",
      [](O & o) -> auto& { return o.memory.shards; });
  b->Choice(
      "bank_dtype", "--bank-dtype", {"bf16", "f32"}, "how new banks are stored",
      [](O & o) -> auto& { return o.memory.bank_dtype; });
  b->Bytes(
      "router_key_bytes", "--router-key-bytes", kMiB, 64 * kTiB,
      "memory for the routing keys, ids and metadata of all banks",
      [](O & o) -> auto& { return o.memory.router_key_bytes; });
  b->Bytes(
      "kv_bytes", "--kv-bytes", kMiB, 64 * kTiB, "memory for keys and values of running queries",
      [](O & o) -> auto& { return o.memory.kv_bytes; });
  b->Bytes(
      "activation_bytes", "--activation-bytes", kMiB, 64 * kTiB,
      "memory for prompts in work, as much again for documents, and for what questions keep "
      "between "
      "rounds",
      [](O & o) -> auto& { return o.memory.activation_bytes; });
  b->Time(
      "scrub_interval", "--scrub-interval", absl::ZeroDuration(), absl::Hours(24 * 365),
      "every bank's files are read and checked this often, 0 for never",
      [](O & o) -> auto& { return o.memory.scrub_interval; });
  b->Bytes(
      "scrub_bytes_per_second", "--scrub-bytes-per-second", 64 * kKiB, kTiB,
      "how fast they are read for that",
      [](O & o) -> auto& { return o.memory.scrub_bytes_per_second; });
}

void AddWork(Builder* b) {
  using O = ServerOptions;
  b->In("scheduler");
  b->Count(
      "max_running", "--max-running", 1, 4096, "queries at a time",
      [](O & o) -> auto& { return o.scheduler.max_running; });
  b->Count(
      "max_queued_requests", "--max-queued-requests", 0, 1'000'000, "queries that may wait",
      [](O & o) -> auto& { return o.scheduler.max_queued_requests; });
  b->Count(
      "max_queued_tokens", "--max-queued-tokens", 1, int64_t{1} << 40, "tokens of their prompts",
      [](O & o) -> auto& { return o.scheduler.max_queued_tokens; });
  b->Time(
      "slice_time", "--slice-time", absl::Milliseconds(1), absl::Seconds(10),
      "work between two looks at cancellation and deadlines",
      [](O & o) -> auto& { return o.scheduler.slice_time; });
  b->Time(
      "stalled_reader_timeout", "--stalled-reader-timeout", absl::Milliseconds(100),
      absl::Hours(24), "an answer whose client does not read ends after it",
      [](O & o) -> auto& { return o.scheduler.stalled_reader_timeout; });

  b->In("drain");
  b->Time(
      "grace", "--drain-grace", absl::ZeroDuration(), absl::Hours(24),
      "what runs may finish in it after SIGTERM", [](O & o) -> auto& { return o.drain.grace; });

  b->In("observability");
  b->Switch(
      "metrics", "--metrics", "serve Prometheus metrics",
      [](O & o) -> auto& { return o.observability.metrics; });
  b->Text(
      "metrics_host", "--metrics-host", "ADDRESS", "address of the metrics port",
      [](O & o) -> auto& { return o.observability.metrics_host; });
  b->Count(
      "metrics_port", "--metrics-port", 0, 65535, "metrics port, 0 for any free one",
      [](O & o) -> auto& { return o.observability.metrics_port; });
  b->Choice(
      "log_format", "--log-format", {"text", "json"}, "of the lines on stderr",
      [](O & o) -> auto& { return o.observability.log_format; });
  b->Choice(
      "log_level", "--log-level", {"debug", "info", "warning", "error"}, "the least that is logged",
      [](O & o) -> auto& { return o.observability.log_level; });
  b->Switch(
      "reflection", "--reflection", "serve gRPC reflection",
      [](O & o) -> auto& { return o.observability.reflection; });
}

void AddLimits(Builder* b) {
  using O = ServerOptions;
  b->In("limits");
  b->Bytes(
      "max_document_bytes", "--max-document-bytes", kKiB, kGiB / 4, "text of one document",
      [](O & o) -> auto& { return o.limits.max_document_bytes; });
  b->Bytes(
      "max_question_bytes", "--max-question-bytes", 16, 64 * kMiB, "one question",
      [](O & o) -> auto& { return o.limits.max_question_bytes; });
  b->Count(
      "max_rounds", "--max-rounds", 1, 1000, "largest limits.max_rounds of a request",
      [](O & o) -> auto& { return o.limits.max_rounds; });
  b->Count(
      "max_citations", "--max-citations", 1, 100'000, "largest limits.max_citations of a request",
      [](O & o) -> auto& { return o.limits.max_citations; });
  b->Count(
      "max_retrieval_tokens", "--max-retrieval-tokens", 1, 1'000'000,
      "largest limits.max_retrieval_tokens of a request",
      [](O & o) -> auto& { return o.limits.max_retrieval_tokens; });
  b->Count(
      "max_answer_tokens", "--max-answer-tokens", 1, 1'000'000,
      "largest limits.max_answer_tokens of a request",
      [](O & o) -> auto& { return o.limits.max_answer_tokens; });
  b->Bytes(
      "max_expansion_bytes", "--max-expansion-bytes", 1, kGiB,
      "largest limits.max_expansion_bytes of a request",
      [](O & o) -> auto& { return o.limits.max_expansion_bytes; });
  b->Count(
      "max_in_flight_documents", "--max-in-flight-documents", 1, 100'000,
      "documents of one ingest stream without a result",
      [](O & o) -> auto& { return o.limits.max_in_flight_documents; });
  b->Bytes(
      "max_in_flight_bytes", "--max-in-flight-bytes", kKiB, kGiB, "their texts",
      [](O & o) -> auto& { return o.limits.max_in_flight_bytes; });
}

}  // namespace

std::string Option::environment_name() const {
  return absl::StrCat("MSA_", absl::AsciiStrToUpper(section), "__", absl::AsciiStrToUpper(key));
}

const std::vector<Option>& OptionTable() {
  static const std::vector<Option> table = [] {
    Builder builder;
    AddServing(&builder);
    AddWork(&builder);
    AddLimits(&builder);
    return builder.Take();
  }();
  return table;
}

}  // namespace msa::server
