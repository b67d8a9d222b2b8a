#include "engine/engine.h"

#include <sched.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/generation/sampler.h"
#include "engine/generation/token_trie.h"
#include "engine/memory/bank_store.h"
#include "engine/model/weights.h"
#include "engine/parallel/local_communicator.h"
#include "engine/query_handle.h"
#include "engine/scheduling/rank_team.h"
#include "engine/scheduling/scheduler.h"
#include "engine/text/prompt_template.h"
#include "engine/text/tokenizer.h"
#include "kernels/core/cpu_features.h"
#include "kernels/core/device.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/status_macros.h"
#include "kernels/ops/key_candidates.h"

namespace msa::engine {
namespace {

constexpr int kMaxShards = 64;

// The cores that this process may use.
int AvailableCores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return std::max(1, CPU_COUNT(&cores));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

absl::Status CheckOptions(const EngineOptions& options) {
  if (options.num_shards < 1 || options.num_shards > kMaxShards) {
    return absl::InvalidArgumentError(
        absl::StrCat("shards is ", options.num_shards, ", allowed are 1 to ", kMaxShards));
  }
  if (options.max_running < 1 || options.max_running > Transformer::kMaxRows) {
    return absl::InvalidArgumentError(absl::StrCat("max_running is ", options.max_running,
                                                   ", allowed are 1 to ", Transformer::kMaxRows));
  }
  if (options.bank_dtype == kernels::DType::kF16) {
    return absl::InvalidArgumentError("bank_dtype is f16, allowed are f32 and bf16");
  }
  MSA_RETURN_IF_ERROR(kernels::CheckDeviceAvailable(options.device));
  if (options.device == kernels::DeviceKind::kCpu) return absl::OkStatus();
  return absl::UnimplementedError(
      "device cuda: some of the model's kernels have no CUDA path yet; use device cpu");
}

absl::Status CheckQuestion(const std::string& question, const EngineOptions& options) {
  if (question.empty()) {
    return kernels::WithDetail(
        absl::InvalidArgumentError("question is empty"),
        {.reason = "QUESTION_EMPTY", .field = "question", .metadata = {}, .retry_after = {}});
  }
  const auto bytes = static_cast<int64_t>(question.size());
  if (bytes <= options.max_question_bytes) return absl::OkStatus();
  return kernels::WithDetail(
      absl::InvalidArgumentError(absl::StrCat("question has ", bytes, " bytes, the limit is ",
                                              options.max_question_bytes)),
      {.reason = "QUESTION_TOO_LARGE",
       .field = "question",
       .metadata = {{"limit", absl::StrCat(options.max_question_bytes)},
                    {"actual", absl::StrCat(bytes)}},
       .retry_after = {}});
}

// What the query may find, as the bank stands at its pin.
absl::Status Limit(const DocumentScope& scope, Query* query) {
  if (scope.min_revision > query->pin->revision()) {
    return kernels::WithDetail(absl::FailedPreconditionError(absl::StrCat(
                                   "min_revision is ", scope.min_revision,
                                   ", the bank is at revision ", query->pin->revision())),
                               {.reason = "REVISION_NOT_REACHED",
                                .field = "min_revision",
                                .metadata = {{"limit", absl::StrCat(query->pin->revision())},
                                             {"actual", absl::StrCat(scope.min_revision)}},
                                .retry_after = {}});
  }
  std::optional<Filter> filter;
  if (!scope.filter.empty()) {
    MSA_ASSIGN_OR_RETURN(filter, Filter::Parse(scope.filter));
  }
  if (filter || !scope.document_ids.empty()) {
    query->documents = query->bank->Select(filter ? &*filter : nullptr, scope.document_ids);
    query->documents_view = query->documents->view();
  }
  return absl::OkStatus();
}

class EngineImpl : public Engine, public DocumentEncoder {
 public:
  EngineImpl(const EngineOptions& options, EngineObserver* observer)
      : options_(options), clock_(options.clock), observer_(observer) {}

  ~EngineImpl() override {
    if (scheduler_ != nullptr) scheduler_->Stop();
  }

  absl::Status Start();

  const EngineInfo& info() const override { return info_; }
  MemoryUsage memory_usage() const override;

  BankStore& banks() override { return *store_; }

  absl::StatusOr<std::unique_ptr<GenerateStream>> Generate(
      GenerateRequest request, absl::AnyInvocable<void()> on_ready) override;
  absl::StatusOr<std::unique_ptr<RequestHandle>> Retrieve(RetrieveRequest request,
                                                          RetrieveDone done) override;
  absl::StatusOr<TokenCount> CountTokens(const std::string& text) const override;

  bool healthy() const override { return scheduler_->healthy(); }
  int64_t num_running() const override { return scheduler_->num_running(); }
  int64_t num_waiting() const override { return scheduler_->num_waiting(); }
  void Drain(absl::Duration grace) override {
    const absl::Duration end = clock_->Monotonic() + grace;
    scheduler_->Drain(grace);
    store_->Drain(std::max(end - clock_->Monotonic(), absl::ZeroDuration()));
  }

  // ---- DocumentEncoder
  std::vector<int32_t> Tokenize(uint32_t number, std::string_view text) const override {
    return template_->EncodeDocument(*tokenizer_, number, text);
  }
  int64_t max_document_tokens() const override { return config_.max_positions; }
  void Encode(std::vector<int32_t> token_ids, EncodeDone done) override {
    scheduler_->Encode(std::move(token_ids), std::move(done));
  }
  void AtStepBoundary(absl::AnyInvocable<void()> change) override {
    scheduler_->AtStepBoundary(std::move(change));
  }

 private:
  absl::StatusOr<std::shared_ptr<Query>> NewQuery(const std::string& bank,
                                                  const std::string& question,
                                                  const DocumentScope& scope, absl::Time deadline,
                                                  const GenerationParams& params);
  absl::Status Submit(std::shared_ptr<Query> query);
  int64_t MaxQuestionTokens() const;

  EngineOptions options_;
  Clock* clock_;
  EngineObserver* observer_;
  EngineInfo info_;
  ModelConfig config_;
  std::unique_ptr<Weights> weights_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<PromptTemplate> template_;
  std::unique_ptr<TokenTrie> trie_;
  std::unique_ptr<kernels::ThreadPool> pool_;
  TemplatePrefix prefix_;
  std::unique_ptr<RankTeam> team_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<BankStore> store_;  // last: its threads use the scheduler
};

absl::Status EngineImpl::Start() {
  MSA_RETURN_IF_ERROR(CheckOptions(options_));
  MSA_ASSIGN_OR_RETURN(config_, LoadModelConfig(options_.model_dir));
  MSA_ASSIGN_OR_RETURN(tokenizer_, Tokenizer::Load(options_.model_dir + "/tokenizer.json"));
  MSA_ASSIGN_OR_RETURN(PromptTemplate prompt_template,
                       PromptTemplate::Load(options_.model_dir, *tokenizer_));
  template_ = std::make_unique<PromptTemplate>(std::move(prompt_template));
  if (tokenizer_->vocab_size() > config_.vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        options_.model_dir, "/tokenizer.json has ids up to ", tokenizer_->vocab_size() - 1,
        ", but config.json's vocab_size is ", config_.vocab_size));
  }
  MSA_ASSIGN_OR_RETURN(weights_,
                       Weights::Load(options_.model_dir, config_, options_.compute_dtype));
  trie_ = std::make_unique<TokenTrie>(*tokenizer_);

  const int num_threads = options_.num_threads > 0 ? options_.num_threads : AvailableCores();
  pool_ = std::make_unique<kernels::ThreadPool>(num_threads);
  const kernels::OpContext context{options_.device, pool_.get()};
  const kernels::DType kv_dtype = options_.compute_dtype == kernels::ComputeDType::kF32
                                      ? kernels::DType::kF32
                                      : kernels::DType::kBF16;
  {
    Transformer transformer(&config_, weights_.get(), context, options_.compute_dtype);
    MSA_ASSIGN_OR_RETURN(prefix_,
                         ComputeTemplatePrefix(&transformer, template_->head_ids(), kv_dtype));
  }
  auto pages =
      std::make_unique<KvPagePool>(prefix_.shape, options_.kv_memory_bytes / prefix_.shape.bytes());
  std::vector<std::unique_ptr<Rank>> ranks;
  for (std::unique_ptr<Communicator>& communicator : MakeLocalCommunicators(options_.num_shards)) {
    ranks.push_back(std::make_unique<Rank>(&config_, weights_.get(), &prefix_, context,
                                           options_.compute_dtype, options_.bank_dtype, pages.get(),
                                           std::move(communicator), options_.probe));
  }
  team_ = std::make_unique<RankTeam>(std::move(pages), std::move(ranks));
  const MemoryGeometry geometry{.num_msa_layers = static_cast<int64_t>(config_.msa_layers.size()),
                                .kv_width = config_.kv_width(),
                                .tokens_per_chunk = config_.tokens_per_chunk,
                                .dtype = options_.bank_dtype,
                                .model_fingerprint = weights_->fingerprint,
                                .instruction_set = std::string(kernels::InstructionSet())};
  scheduler_ = std::make_unique<Scheduler>(
      &config_, geometry, prefix_.num_rows, team_.get(),
      SchedulerOptions{.max_running = options_.max_running,
                       .max_queued_requests = options_.max_queued_requests,
                       .max_queued_tokens = options_.max_queued_tokens,
                       .activation_bytes = options_.activation_bytes,
                       .slice_time = options_.slice_time,
                       .stalled_reader_timeout = options_.stalled_reader_timeout},
      clock_, observer_);
  BankStoreOptions store_options{
      .data_dir = options_.data_dir,
      .backup_dir = options_.backup_dir,
      .num_shards = options_.num_shards,
      .geometry = geometry,
      .max_text_bytes = options_.max_document_bytes,
      .router_key_budget_bytes = options_.router_key_memory_bytes,
      .scrub_interval = options_.scrub_interval,
      .scrub_bytes_per_second = options_.scrub_bytes_per_second,
      .has_first_pass = kernels::FirstPassReduces(config_.head_reduce, config_.query_reduce,
                                                  config_.chunk_reduce)};
  MSA_ASSIGN_OR_RETURN(
      store_, BankStore::Open(store_options, this, options_.file_system, clock_, observer_));

  info_ = {.model = config_,
           .model_fingerprint = weights_->fingerprint,
           .num_shards = options_.num_shards,
           .num_threads = num_threads,
           .device = options_.device == kernels::DeviceKind::kCpu ? "cpu" : "cuda",
           .instruction_set = geometry.instruction_set,
           .compute_dtype = options_.compute_dtype == kernels::ComputeDType::kF32 ? "f32" : "bf16",
           .bank_dtype = std::string(kernels::NameOf(options_.bank_dtype)),
           .max_document_tokens = config_.max_positions,
           .max_question_tokens = MaxQuestionTokens(),
           .options = options_};
  return absl::OkStatus();
}

MemoryUsage EngineImpl::memory_usage() const {
  MemoryUsage usage{.weights = weights_->resident_bytes};
  for (const auto& bank : store_->OpenBanks()) usage.router_keys += bank->Stats().router_key_bytes;
  usage.kv_pages = scheduler_->reserved_pages() * prefix_.shape.bytes();
  usage.kv_pages_limit = team_->pool().max_pages() * prefix_.shape.bytes();
  usage.activations = scheduler_->scratch_bytes();
  return usage;
}

absl::StatusOr<std::shared_ptr<Query>> EngineImpl::NewQuery(const std::string& bank,
                                                            const std::string& question,
                                                            const DocumentScope& scope,
                                                            absl::Time deadline,
                                                            const GenerationParams& params) {
  MSA_RETURN_IF_ERROR(CheckQuestion(question, options_));
  auto query = std::make_shared<Query>();
  MSA_ASSIGN_OR_RETURN(query->bank, store_->Get(bank));
  query->pin = query->bank->Pin();
  MSA_RETURN_IF_ERROR(Limit(scope, query.get()));
  query->deadline = deadline;
  query->arrival = clock_->Monotonic();
  query->interleave = std::make_unique<Interleave>(tokenizer_.get(), template_.get(), trie_.get(),
                                                   config_.eos_token_ids, params, question);
  query->prompt = query->interleave->FirstRound();
  query->timings.tokenize = clock_->Monotonic() - query->arrival;
  return query;
}

// What the default limits of an answer leave of the model's positions.
int64_t EngineImpl::MaxQuestionTokens() const {
  const GenerationParams params;
  const Interleave empty(tokenizer_.get(), template_.get(), trie_.get(), config_.eos_token_ids,
                         params, "");
  const auto prompt = static_cast<int64_t>(empty.FirstRound().token_ids.size());
  const auto block = static_cast<int64_t>(empty.answer_block_ids().size());
  return std::max<int64_t>(0, config_.max_positions - prefix_.num_rows - config_.doc_top_k -
                                  prompt - block - params.max_retrieval_tokens -
                                  params.max_answer_tokens);
}

absl::Status EngineImpl::Submit(std::shared_ptr<Query> query) {
  absl::Status status = scheduler_->CheckPositions(*query);
  if (status.ok()) status = scheduler_->Submit(std::move(query));
  if (!status.ok()) observer_->RequestRejected(status);
  return status;
}

absl::StatusOr<std::unique_ptr<GenerateStream>> EngineImpl::Generate(
    GenerateRequest request, absl::AnyInvocable<void()> on_ready) {
  MSA_ASSIGN_OR_RETURN(
      std::shared_ptr<Query> query,
      NewQuery(request.bank, request.question, request.scope, request.deadline, request.params));
  query->explain_layers = request.explain_layers;
  // Rows after a round's prompt: what retrieval may write, and if it ends, the answer block and the
  // answer.
  query->max_new_rows = request.params.max_retrieval_tokens + request.params.max_answer_tokens +
                        static_cast<int64_t>(query->interleave->answer_block_ids().size());
  query->token_source = options_.make_token_source
                            ? options_.make_token_source(request.params.sampling)
                            : std::make_unique<Sampler>(request.params.sampling);
  query->events =
      std::make_shared<EventQueue>(options_.max_unread_event_bytes, std::move(on_ready));
  MSA_RETURN_IF_ERROR(Submit(query));
  return std::make_unique<QueryStream>(scheduler_.get(), std::move(query));
}

absl::StatusOr<std::unique_ptr<RequestHandle>> EngineImpl::Retrieve(RetrieveRequest request,
                                                                    RetrieveDone done) {
  MSA_ASSIGN_OR_RETURN(std::shared_ptr<Query> query, NewQuery(request.bank, request.question,
                                                              request.scope, request.deadline, {}));
  query->finish_retrieve = [config = &config_, request = std::move(request),
                            done =
                                std::make_shared<RetrieveDone>(std::move(done))](Query& finished) {
    if (!finished.status.ok()) {
      (*done)(finished.status);
      return;
    }
    RetrieveResult result{.hits = UnionOfSelections(*config, finished.selections),
                          .layers = {},
                          .revision = finished.pin->revision(),
                          .prompt_tokens = finished.prompt_tokens,
                          .timings = finished.timings};
    if (request.explain_layers) result.layers = LayersOf(*config, finished.selections);
    if (request.limit > 0 && result.hits.size() > static_cast<size_t>(request.limit)) {
      result.hits.resize(static_cast<size_t>(request.limit));
    }
    const absl::Status found =
        LookUpDocuments(*finished.bank, *finished.pin, request.with_text, &result.hits);
    if (found.ok()) {
      (*done)(std::move(result));
    } else {
      (*done)(found);
    }
  };
  MSA_RETURN_IF_ERROR(Submit(query));
  return std::make_unique<QueryHandle>(scheduler_.get(), std::move(query));
}

absl::StatusOr<TokenCount> EngineImpl::CountTokens(const std::string& text) const {
  TokenCount count;
  count.num_tokens = static_cast<int64_t>(Tokenize(1, text).size());
  const int64_t tokens_per_chunk = config_.tokens_per_chunk;
  count.num_chunks = (count.num_tokens + tokens_per_chunk - 1) / tokens_per_chunk;
  const int64_t key_bytes = static_cast<int64_t>(config_.msa_layers.size()) * config_.kv_width() *
                            static_cast<int64_t>(kernels::SizeOf(options_.bank_dtype));
  count.router_key_bytes = count.num_chunks * key_bytes;
  count.content_bytes = 2 * count.router_key_bytes;
  return count;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Open(const EngineOptions& options,
                                                     EngineObserver* observer) {
  static EngineObserver silent;
  EngineOptions complete = options;
  if (complete.file_system == nullptr) complete.file_system = PosixFileSystem();
  if (complete.clock == nullptr) complete.clock = SystemClock();
  auto engine = std::make_unique<EngineImpl>(complete, observer == nullptr ? &silent : observer);
  MSA_RETURN_IF_ERROR(engine->Start());
  return engine;
}

}  // namespace msa::engine
