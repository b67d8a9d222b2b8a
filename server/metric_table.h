#pragma once

#include <array>
#include <cstddef>
#include <string_view>

// Every metric that this server exports; docs/metrics.md shows the same table.
namespace msa::server {

enum class MetricKind { kCounter, kGauge, kHistogram };

enum class Metric {
  kBuildInfo,
  kModelInfo,
  kServerState,
  kGrpcRequests,
  kGrpcRequestDuration,
  kGrpcStreams,
  kAdmissionRejections,
  kRequestsRunning,
  kRequestsWaiting,
  kRequestQueue,
  kTimeToFirstToken,
  kRequestDuration,
  kRequestsFinished,
  kPromptTokens,
  kGeneratedTokens,
  kRounds,
  kCitations,
  kStage,
  kStep,
  kStepRows,
  kShardScore,
  kScoredChunks,
  kRescoredDocuments,
  kFirstPassFallbacks,
  kKvFetchBytes,
  kKvFetch,
  kShardDocuments,
  kShardChunks,
  kMemory,
  kMemoryLimit,
  kBanks,
  kBankDocuments,
  kBankTokens,
  kBankTombstones,
  kIngestDocuments,
  kIngestTokens,
  kIngestBacklog,
  kIngestEncode,
  kIngestVisibleLag,
  kChecksumFailures,
  kProcessCpu,
  kProcessResident,
  kProcessVirtual,
  kProcessOpenFds,
  kProcessMaxFds,
  kProcessThreads,
  kProcessStart,
};

struct MetricSpec {
  Metric id;
  std::string_view name;
  MetricKind kind;
  std::string_view labels;  // names, separated by ", "
  std::string_view help;
};

inline constexpr std::array<MetricSpec, 47> kMetricTable = {{
    {Metric::kBuildInfo, "msa_build_info", MetricKind::kGauge, "version", "1; the server program."},
    {Metric::kModelInfo, "msa_model_info", MetricKind::kGauge,
     "model, fingerprint, compute_dtype, bank_dtype, device, instruction_set",
     "1; the model and how it is computed."},
    {Metric::kServerState, "msa_server_state", MetricKind::kGauge, "state",
     "1 for the current one of ready, draining, unhealthy; 0 for the others."},
    {Metric::kGrpcRequests, "msa_grpc_requests_total", MetricKind::kCounter, "method, code",
     "Calls that ended."},
    {Metric::kGrpcRequestDuration, "msa_grpc_request_duration_seconds", MetricKind::kHistogram,
     "method", "From a call's first message to its end."},
    {Metric::kGrpcStreams, "msa_grpc_streams", MetricKind::kGauge, "method",
     "Streams that are open."},
    {Metric::kAdmissionRejections, "msa_admission_rejections_total", MetricKind::kCounter, "reason",
     "Valid queries that were turned away: queue_full; too_long, with what may be generated, for "
     "the model's positions; unavailable, while the server drains or has failed."},
    {Metric::kRequestsRunning, "msa_requests_running", MetricKind::kGauge, "",
     "Queries that are being computed."},
    {Metric::kRequestsWaiting, "msa_requests_waiting", MetricKind::kGauge, "",
     "Queries that wait for admission."},
    {Metric::kRequestQueue, "msa_request_queue_seconds", MetricKind::kHistogram, "",
     "Waiting time of admitted queries."},
    {Metric::kTimeToFirstToken, "msa_time_to_first_token_seconds", MetricKind::kHistogram, "",
     "From a query's arrival to its first token."},
    {Metric::kRequestDuration, "msa_request_duration_seconds", MetricKind::kHistogram, "",
     "From a query's arrival to its end."},
    {Metric::kRequestsFinished, "msa_requests_finished_total", MetricKind::kCounter,
     "finish_reason",
     "Answers that ended: stop, stop_string, max_answer_tokens, no_answer, max_retrieval_tokens, "
     "max_rounds, "
     "max_expansion, cancelled, deadline, error."},
    {Metric::kPromptTokens, "msa_prompt_tokens_total", MetricKind::kCounter, "",
     "Prompt tokens of all rounds."},
    {Metric::kGeneratedTokens, "msa_generated_tokens_total", MetricKind::kCounter, "",
     "Tokens that the model wrote."},
    {Metric::kRounds, "msa_rounds", MetricKind::kHistogram, "",
     "Rounds of routing per query; one that ended in the queue does not count."},
    {Metric::kCitations, "msa_citations_total", MetricKind::kCounter, "valid",
     "Documents that the model cited; false: no document that the query may find has the number."},
    {Metric::kStage, "msa_stage_seconds", MetricKind::kHistogram, "stage",
     "Time of a query in tokenize, prefill, score, fetch, decode; only stages that it had."},
    {Metric::kStep, "msa_step_seconds", MetricKind::kHistogram, "", "One step of the scheduler."},
    {Metric::kStepRows, "msa_step_rows_total", MetricKind::kCounter, "kind",
     "Rows computed: decode, prefill, encode; a decoded row counts once per token, the others once "
     "per half of a layer that they run through."},
    {Metric::kShardScore, "msa_shard_score_seconds", MetricKind::kHistogram, "shard",
     "Scoring a shard's routing keys in one step of the scheduler, all its layers and queries; "
     "only steps that score."},
    {Metric::kScoredChunks, "msa_scored_chunks_total", MetricKind::kCounter, "shard",
     "Chunks that scoring went over, per layer; once for all queries that share the pass."},
    {Metric::kRescoredDocuments, "msa_rescored_documents_total", MetricKind::kCounter, "",
     "Documents whose exact routing keys were read after a first pass over int8 keys."},
    {Metric::kFirstPassFallbacks, "msa_first_pass_fallbacks_total", MetricKind::kCounter, "",
     "First passes over int8 keys after which too many documents were left, so that all exact keys "
     "were read."},
    {Metric::kKvFetchBytes, "msa_kv_fetch_bytes_total", MetricKind::kCounter, "",
     "Content read for selected documents."},
    {Metric::kKvFetch, "msa_kv_fetch_seconds", MetricKind::kHistogram, "",
     "Reading selected documents' content for the queries of one rank in one step of the "
     "scheduler; only steps that read."},
    {Metric::kShardDocuments, "msa_shard_documents", MetricKind::kGauge, "shard",
     "Searchable documents, all open banks."},
    {Metric::kShardChunks, "msa_shard_chunks", MetricKind::kGauge, "shard",
     "Searchable chunks, all open banks."},
    {Metric::kMemory, "msa_memory_bytes", MetricKind::kGauge, "tier, kind",
     "In dram: weights, router_keys, index (ids and metadata), kv_pages, activations; on disk: "
     "content, text."},
    {Metric::kMemoryLimit, "msa_memory_limit_bytes", MetricKind::kGauge, "tier, kind",
     "Limits of the same."},
    {Metric::kBanks, "msa_banks", MetricKind::kGauge, "", "Banks."},
    {Metric::kBankDocuments, "msa_bank_documents", MetricKind::kGauge, "",
     "Searchable documents, all open banks."},
    {Metric::kBankTokens, "msa_bank_tokens", MetricKind::kGauge, "", "Their tokens."},
    {Metric::kBankTombstones, "msa_bank_tombstones", MetricKind::kGauge, "",
     "Deleted and replaced documents that still take room, all open banks."},
    {Metric::kIngestDocuments, "msa_ingest_documents_total", MetricKind::kCounter, "result",
     "Documents that were accepted, became active, failed, or were there already (duplicate)."},
    {Metric::kIngestTokens, "msa_ingest_tokens_total", MetricKind::kCounter, "",
     "Tokens of documents that became active."},
    {Metric::kIngestBacklog, "msa_ingest_backlog_documents", MetricKind::kGauge, "",
     "Documents that are stored and wait to be encoded, all open banks."},
    {Metric::kIngestEncode, "msa_ingest_encode_seconds", MetricKind::kHistogram, "",
     "Encoding of one document, with the others of its job."},
    {Metric::kIngestVisibleLag, "msa_ingest_visible_lag_seconds", MetricKind::kHistogram, "",
     "From a document's acceptance until queries see it."},
    {Metric::kChecksumFailures, "msa_checksum_failures_total", MetricKind::kCounter, "",
     "Stored blocks, rows and texts that did not match their checksums, and catalogs whose "
     "structure was damaged."},
    {Metric::kProcessCpu, "process_cpu_seconds_total", MetricKind::kCounter, "",
     "User and system time of the process."},
    {Metric::kProcessResident, "process_resident_memory_bytes", MetricKind::kGauge, "",
     "Resident memory."},
    {Metric::kProcessVirtual, "process_virtual_memory_bytes", MetricKind::kGauge, "",
     "Virtual memory."},
    {Metric::kProcessOpenFds, "process_open_fds", MetricKind::kGauge, "", "Open file descriptors."},
    {Metric::kProcessMaxFds, "process_max_fds", MetricKind::kGauge, "",
     "Limit of open file descriptors."},
    {Metric::kProcessThreads, "process_threads", MetricKind::kGauge, "", "Threads."},
    {Metric::kProcessStart, "process_start_time_seconds", MetricKind::kGauge, "",
     "Start of the process, Unix time."},
}};

constexpr const MetricSpec& SpecOf(Metric metric) {
  return kMetricTable[static_cast<size_t>(metric)];
}

constexpr bool MetricTableIsInOrder() {
  for (size_t i = 0; i < kMetricTable.size(); ++i) {
    if (static_cast<size_t>(kMetricTable[i].id) != i) return false;
  }
  return true;
}
static_assert(MetricTableIsInOrder());

}  // namespace msa::server
