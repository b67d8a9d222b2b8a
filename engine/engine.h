#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine_observer.h"
#include "engine/engine_options.h"
#include "engine/generation/generation_params.h"
#include "engine/memory/bank_store.h"
#include "engine/model/model_config.h"
#include "engine/query_events.h"

// The one header that server/ and tests need: a model, its banks and the ranks that serve them.
namespace msa::engine {

// Which documents of the bank a query may find. Nothing that matches is no error: the query then
// runs without memory.
struct DocumentScope {
  std::string filter;  // engine/memory/documents/filter.h; empty: all
  // Empty: all. Ids that the bank does not have find nothing.
  std::vector<std::string> document_ids;
  // The bank's revision must have reached it: FAILED_PRECONDITION. Revisions that were acknowledged
  // always have.
  uint64_t min_revision = 0;
};

struct GenerateRequest {
  std::string bank;
  std::string question;
  DocumentScope scope;
  GenerationParams params;
  absl::Time deadline = absl::InfiniteFuture();
  bool explain_layers = false;  // RoundEvent carries every layer's selection
};

struct RetrieveRequest {
  std::string bank;
  std::string question;
  DocumentScope scope;
  int32_t limit =
      0;  // hits to report; 0: all that were selected. Attention always uses the model's doc_top_k
  bool with_text = false;
  bool explain_layers = false;
  absl::Time deadline = absl::InfiniteFuture();
};

struct RetrieveResult {
  std::vector<RoutedDocument> hits;    // union of the layers' selections, best layer score first
  std::vector<LayerSelection> layers;  // if explain_layers
  uint64_t revision = 0;
  int64_t prompt_tokens = 0;
  StageTimings timings;
};

// Cancels on Cancel or destruction. Thread-safe.
class RequestHandle {
 public:
  virtual ~RequestHandle() = default;
  virtual void Cancel() = 0;
};

// A running answer. Events come through a bounded queue: a reader that does not read pauses its
// sequence, and after EngineOptions::stalled_reader_timeout ends it with RESOURCE_EXHAUSTED.
class GenerateStream : public RequestHandle {
 public:
  enum class ReadState { kEvent, kPending, kEnd };
  // The next event if there is one. kPending: call again after the next `on_ready`. kEnd: status()
  // is final, and OK only after a FinishedEvent was read.
  virtual ReadState TryRead(QueryEvent* event) = 0;
  virtual absl::Status status() const = 0;
};

struct TokenCount {
  int64_t num_tokens = 0;
  int64_t num_chunks = 0;
  int64_t router_key_bytes = 0;  // in memory, all layers
  int64_t content_bytes = 0;     // on disk, all layers
};

struct EngineInfo {
  ModelConfig model;
  std::string model_fingerprint;
  int num_shards = 0;
  int num_threads = 0;
  std::string device;           // "cpu"
  std::string instruction_set;  // "avx2", "avx512", "avx512-bf16", "amx"
  std::string compute_dtype;
  std::string bank_dtype;
  int64_t max_document_tokens = 0;
  int64_t max_question_tokens = 0;
  EngineOptions options;
};

struct MemoryUsage {  // bytes by purpose
  int64_t weights = 0;
  int64_t router_keys = 0;
  int64_t kv_pages = 0;  // reserved for sequences
  int64_t kv_pages_limit = 0;
  int64_t activations = 0;
};

// Thread-safe. Nothing here knows gRPC.
class Engine {
 public:
  // Loads the model, opens all banks, starts the ranks. One-line errors that name file or flag,
  // what is wrong and what is allowed. `observer` must outlive the engine; may be null.
  static absl::StatusOr<std::unique_ptr<Engine>> Open(const EngineOptions& options,
                                                      EngineObserver* observer);
  virtual ~Engine() = default;  // cancels what runs

  virtual const EngineInfo& info() const = 0;
  virtual MemoryUsage memory_usage() const = 0;

  // ---- banks and documents
  virtual BankStore& banks() = 0;

  // ---- queries
  // INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED (queue full, with retry_after; or a request
  // that can never fit), UNAVAILABLE (draining, unhealthy). `on_ready` is called on engine threads
  // whenever TryRead may have something new; it must not block nor destroy the stream, and is not
  // called after the stream is destroyed.
  virtual absl::StatusOr<std::unique_ptr<GenerateStream>> Generate(
      GenerateRequest request, absl::AnyInvocable<void()> on_ready) = 0;
  // `done` is called exactly once, on an engine thread, unless an error is returned at once.
  using RetrieveDone = absl::AnyInvocable<void(absl::StatusOr<RetrieveResult>)>;
  virtual absl::StatusOr<std::unique_ptr<RequestHandle>> Retrieve(RetrieveRequest request,
                                                                  RetrieveDone done) = 0;

  // What a document with this text costs, without storing it; counted as document 1 (a longer
  // number may add a token or two).
  virtual absl::StatusOr<TokenCount> CountTokens(const std::string& text) const = 0;

  // ---- life
  virtual bool healthy()
      const = 0;  // false once a rank failed; the process should exit for its supervisor
  virtual int64_t num_running() const = 0;
  virtual int64_t num_waiting() const = 0;
  // Refuses new requests (UNAVAILABLE), waits until running ones have finished or `grace` is over,
  // cancels the rest.
  virtual void Drain(absl::Duration grace) = 0;
};

}  // namespace msa::engine
