#include "engine/scheduling/query_runner.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {

QueryRunner::QueryRunner(const ModelConfig* config, int64_t template_rows, RankTeam* team,
                         int64_t max_kept_bytes, Clock* clock, EngineObserver* observer,
                         std::function<void()> wake)
    : config_(config),
      template_rows_(template_rows),
      max_kept_bytes_(max_kept_bytes),
      team_(team),
      clock_(clock),
      observer_(observer),
      wake_(std::move(wake)) {}

int64_t QueryRunner::PagesForRound(const Query& query) const {
  const KvPagePool& pool = team_->pool();
  // At most the k documents with the most chunks are selected.
  std::map<int64_t, int64_t, std::greater<>> by_chunks;
  for (int r = 0; r < query.bank->num_shards(); ++r) {
    for (const auto& [chunks, count] : query.bank->shard(r).documents_by_chunks())
      by_chunks[chunks] += count;
  }
  int64_t memory_rows = 0, left = config_->doc_top_k;
  for (const auto& [chunks, count] : by_chunks) {
    memory_rows += chunks * std::min(count, left);
    left -= std::min(count, left);
    if (left == 0) break;
  }
  const int64_t local_rows =
      static_cast<int64_t>(query.prompt.token_ids.size()) + query.max_new_rows;
  return config_->num_layers * pool.PagesFor(local_rows) +
         static_cast<int64_t>(config_->msa_layers.size()) * pool.PagesFor(memory_rows);
}

int64_t QueryRunner::RouterWidth() const {
  return config_->head_reduce == kernels::HeadReduce::kMean ? config_->kv_width()
                                                            : config_->query_width();
}

int64_t QueryRunner::ActivationBytes(const Query& query) const {
  const auto rows = static_cast<int64_t>(query.prompt.token_ids.size());
  const int64_t routed = std::count_if(query.prompt.routed.begin(), query.prompt.routed.end(),
                                       [](auto row_is_routed) { return row_is_routed != 0; });
  const int64_t floats =
      rows * (config_->hidden_size + config_->query_width()) + routed * RouterWidth();
  return floats * static_cast<int64_t>(sizeof(float));
}

int64_t QueryRunner::KeptBytes(const Query& query) const {
  const KvPagePool& pool = team_->pool();
  const auto rows = static_cast<int64_t>(query.prompt.token_ids.size());
  return rows * config_->hidden_size * static_cast<int64_t>(sizeof(float)) +
         config_->msa_layers.front() * pool.PagesFor(rows) * pool.shape().bytes();
}

absl::Status QueryRunner::CheckPositions(const Query& query) const {
  const int64_t positions = template_rows_ + config_->doc_top_k +
                            static_cast<int64_t>(query.prompt.token_ids.size()) +
                            query.max_new_rows;
  if (positions > config_->max_positions) {
    return kernels::WithDetail(
        query.round == 0
            ? absl::InvalidArgumentError(absl::StrCat(
                  "the question needs ", positions,
                  " positions with what may be generated, the model has ", config_->max_positions))
            : absl::ResourceExhaustedError(
                  absl::StrCat("the running text of round ", query.round + 1, " needs ", positions,
                               " positions, the model has ", config_->max_positions)),
        {.reason = "TEXT_TOO_LONG",
         .field = query.round == 0 ? "question" : "",
         .metadata = {{"limit", absl::StrCat(config_->max_positions)},
                      {"actual", absl::StrCat(positions)}},
         .retry_after = {}});
  }
  return absl::OkStatus();
}

absl::Status QueryRunner::CheckFits(const Query& query, int64_t pages) const {
  MSA_RETURN_IF_ERROR(CheckPositions(query));
  const int64_t limit = team_->pool().max_pages();
  if (pages > limit) {
    return kernels::WithDetail(
        absl::ResourceExhaustedError(
            absl::StrCat("the query needs ", pages, " pages of keys and values, there are ", limit,
                         "; raise the memory for keys and values or ask for less")),
        {.reason = "KV_MEMORY_TOO_SMALL",
         .field = "",
         .metadata = {{"limit", absl::StrCat(limit)}, {"actual", absl::StrCat(pages)}},
         .retry_after = {}});
  }
  return absl::OkStatus();
}

bool QueryRunner::TryStartRound(const std::shared_ptr<Query>& query, int rank,
                                int64_t free_activation_bytes) {
  const int64_t pages = PagesForRound(*query);
  if (absl::Status fits = CheckFits(*query, pages); !fits.ok()) {
    Fail(query, std::move(fits));
    return true;
  }
  if (ActivationBytes(*query) > free_activation_bytes) return false;
  if (!team_->pool().Reserve(pages)) return false;
  query->rank = rank;
  query->num_started_rounds = query->round + 1;
  query->kv.local.resize(static_cast<size_t>(config_->num_layers));
  query->kv.memory.resize(config_->msa_layers.size());
  query->kv.reserved_pages = pages;
  query->selections.assign(config_->msa_layers.size(), {});
  query->num_local_rows = 0;
  query->prompt_tokens += static_cast<int64_t>(query->prompt.token_ids.size());
  if (!query->started) {
    query->started = true;
    query->timings.queue = clock_->Monotonic() - query->arrival;
    observer_->RequestStarted(query->timings.queue);
    if (query->events != nullptr) {
      query->events->Push(StartedEvent{.revision = query->pin->revision(),
                                       .prompt_tokens = query->prompt_tokens,
                                       .bank_documents = query->bank->Stats().num_documents,
                                       .queue = query->timings.queue});
    }
  }
  PromptJob& job = query->job;
  StartJob(query.get(), query->prompt.token_ids);
  job.routes = true;
  for (size_t i = 0; i < query->prompt.routed.size(); ++i) {
    if (query->prompt.routed[i] != 0) job.routed_rows.push_back(static_cast<int32_t>(i));
    job.visible.push_back(static_cast<int32_t>(i) + 1);
  }
  job.router_query.resize(job.routed_rows.size() * static_cast<size_t>(RouterWidth()));
  // Retrieve has one round; a probe is to see every row of every round.
  job.keeps_rows = query->events != nullptr && !team_->has_probe() &&
                   config_->msa_layers.front() > 0 && KeptBytes(*query) <= max_kept_bytes_;
  ReuseKeptRows(query.get());
  query->state = Query::State::kPrefill;
  return true;
}

void QueryRunner::ReuseKeptRows(Query* query) {
  PromptJob& job = query->job;
  const KeptRows& kept = query->kept;
  const auto same = std::mismatch(kept.token_ids.begin(), kept.token_ids.end(),
                                  job.token_ids.begin(), job.token_ids.end());
  const int64_t rows = std::min<int64_t>(same.first - kept.token_ids.begin(), job.num_rows() - 1);
  if (rows <= 0) return;
  KvPagePool& pool = team_->pool();
  const auto page_bytes = static_cast<size_t>(pool.shape().bytes());
  for (size_t layer = 0; layer < kept.pages.size(); ++layer) {
    KvRows& local = query->kv.local[layer];
    local.Grow(&pool, rows);
    for (size_t i = 0; i < local.pages().size(); ++i) {
      std::memcpy(local.pages()[i], kept.pages[layer].data() + i * page_bytes, page_bytes);
    }
  }
  std::copy_n(kept.hidden.begin(), rows * config_->hidden_size, job.hidden.begin());
  job.reused_rows = rows;
}

void QueryRunner::StartJob(Query* query, std::vector<int32_t> token_ids) {
  PromptJob& job = query->job;
  job = PromptJob();
  job.token_ids = std::move(token_ids);
  job.first_local_row = query->num_local_rows;
  job.last_layer_first_row = team_->has_probe() ? 0 : job.num_rows() - 1;
  const int64_t first_position = template_rows_ + config_->doc_top_k + query->num_local_rows;
  for (int64_t i = 0; i < job.num_rows(); ++i)
    job.positions.push_back(static_cast<int32_t>(first_position + i));
  job.hidden.resize(static_cast<size_t>(job.num_rows() * config_->hidden_size));
  job.query.resize(static_cast<size_t>(job.num_rows() * config_->query_width()));
  query->job_done = false;
}

// The token that ended retrieval and the block after it, in one pass without routing.
void QueryRunner::PrepareAnswerBlock(Query* query) {
  std::vector<int32_t> ids{query->pending_token};
  const std::vector<int32_t>& block = query->interleave->answer_block_ids();
  ids.insert(ids.end(), block.begin(), block.end());
  const auto before = static_cast<int32_t>(query->num_local_rows);
  const auto rows = static_cast<int32_t>(ids.size());
  StartJob(query, std::move(ids));
  const bool full = config_->answer_block_mask == AnswerBlockMask::kFull;
  for (int32_t i = 0; i < rows; ++i)
    query->job.visible.push_back(before + (full && i > 0 ? rows : i + 1));
  query->state = Query::State::kPrefill;
}

void QueryRunner::AfterStep(const std::shared_ptr<Query>& query) {
  if (!query->status.ok()) {
    Fail(query, query->status);
    return;
  }
  if (query->state == Query::State::kPrefill) {
    if (!query->job_done) return;
    if (query->events == nullptr) {
      query->state = Query::State::kFinished;
      ReleasePages(query.get());
      query->timings.total = clock_->Monotonic() - query->arrival;
      observer_->RequestFinished(absl::OkStatus(), query->timings, 1, query->prompt_tokens, 0);
      worker_.Run([query] { query->finish_retrieve(*query); });
      ReleaseBank(query);
      return;
    }
    if (query->job.routes) ReportRound(query);
    query->job = PromptJob();
  }
  OnToken(query);
}

void QueryRunner::OnToken(const std::shared_ptr<Query>& query) {
  if (query->timings.time_to_first_token == absl::ZeroDuration()) {
    query->timings.time_to_first_token = clock_->Monotonic() - query->arrival;
    observer_->FirstToken(query->timings.time_to_first_token);
  }
  const Interleave::Action action = query->interleave->OnToken(query->pending_token);
  EmitText(query.get());
  switch (action) {
    case Interleave::Action::kDecode:
      query->state = Query::State::kDecode;
      break;
    case Interleave::Action::kFeedAnswerBlock:
      PrepareAnswerBlock(query.get());
      break;
    case Interleave::Action::kExpand:
      ReleasePages(query.get());
      Assemble(query);
      break;
    case Interleave::Action::kFinished:
      Finish(query);
      break;
  }
}

void QueryRunner::EmitText(Query* query) {
  std::string text = query->interleave->TakeText();
  if (text.empty()) return;
  query->events->Push(TokenEvent{
      .phase = query->interleave->phase(), .round = query->round, .text = std::move(text)});
}

// The event keeps its place in the order while document ids are looked up.
void QueryRunner::ReportRound(const std::shared_ptr<Query>& query) {
  RoundEvent event{.index = query->round,
                   .documents = UnionOfSelections(*config_, query->selections),
                   .layers = {},
                   .prompt_tokens = static_cast<int64_t>(query->prompt.token_ids.size())};
  if (query->explain_layers) event.layers = LayersOf(*config_, query->selections);
  const uint64_t place = query->events->Reserve();
  worker_.Run([this, query, place, event = std::move(event)]() mutable {
    const absl::Status found =
        LookUpDocuments(*query->bank, *query->pin, /*with_text=*/false, &event.documents);
    if (found.ok()) {
      query->events->Fill(place, std::move(event));
    } else {
      query->events->Fail(place, found);
      wake_();  // the scheduler ends the query
    }
  });
}

void QueryRunner::Assemble(const std::shared_ptr<Query>& query) {
  query->state = Query::State::kAssembling;
  worker_.Run([this, query] {
    const absl::Duration start = clock_->Monotonic();
    const std::vector<uint32_t> cited = query->interleave->citations();
    std::vector<uint32_t> known = cited;
    if (query->documents) {
      std::erase_if(known, [&](uint32_t n) { return !query->documents->Contains(n); });
    }
    absl::StatusOr<std::vector<DocumentInfo>> found =
        query->bank->Read(known, *query->pin, /*with_text=*/true);
    query->assembled = found.status();
    if (found.ok()) {
      std::vector<ExpandedDocument> documents;
      CitationsEvent event{.round = query->round, .documents = {}, .unknown_numbers = cited};
      for (DocumentInfo& info : *found) {
        event.documents.push_back({info.number, info.id});
        std::erase(event.unknown_numbers, info.number);
        query->sources.push_back({info.number, info.id, query->round});
        documents.push_back({info.number, std::move(info.id), std::move(info.text)});
      }
      const auto num_known = static_cast<int64_t>(event.documents.size());
      const auto num_unknown = static_cast<int64_t>(event.unknown_numbers.size());
      observer_->Cited(num_known, num_unknown);
      query->events->Push(std::move(event));
      query->assembled_action = query->interleave->Expand(documents, &query->prompt);
    }
    query->timings.tokenize += clock_->Monotonic() - start;
    {
      std::lock_guard lock(assembled_mutex_);
      assembled_.push_back(query);
    }
    wake_();
  });
}

std::vector<std::shared_ptr<Query>> QueryRunner::TakeAssembled() {
  std::lock_guard lock(assembled_mutex_);
  return std::exchange(assembled_, {});
}

void QueryRunner::AfterAssembly(const std::shared_ptr<Query>& query) {
  query->state = Query::State::kWaiting;
  if (!query->assembled.ok()) {
    Fail(query, query->assembled);
  } else if (query->assembled_action == Interleave::Action::kFinished) {
    Finish(query);
  } else {
    ++query->round;
  }
}

void QueryRunner::Finish(const std::shared_ptr<Query>& query) {
  query->state = Query::State::kFinished;
  query->kept = KeptRows();
  ReleasePages(query.get());
  EmitText(query.get());
  query->timings.total = clock_->Monotonic() - query->arrival;
  const Interleave& interleave = *query->interleave;
  const bool without_memory = std::all_of(query->selections.begin(), query->selections.end(),
                                          [](const Selection& s) { return s.documents.empty(); });
  observer_->RequestFinished(absl::OkStatus(), query->timings, query->round + 1,
                             query->prompt_tokens, interleave.num_generated_tokens());
  query->events->Push(FinishedEvent{.reason = interleave.finish_reason(),
                                    .answer = interleave.answer(),
                                    .sources = query->sources,
                                    .num_rounds = query->round + 1,
                                    .prompt_tokens = query->prompt_tokens,
                                    .generated_tokens = interleave.num_generated_tokens(),
                                    .without_memory = without_memory,
                                    .timings = query->timings});
  query->events->Close(absl::OkStatus());
  ReleaseBank(query);
}

void QueryRunner::Fail(const std::shared_ptr<Query>& query, absl::Status status) {
  query->state = Query::State::kFinished;
  query->kept = KeptRows();
  ReleasePages(query.get());
  query->timings.total = clock_->Monotonic() - query->arrival;
  observer_->RequestFinished(
      status, query->timings, query->num_started_rounds, query->prompt_tokens,
      query->interleave == nullptr ? 0 : query->interleave->num_generated_tokens());
  if (query->events != nullptr) {
    query->events->Close(std::move(status));
  } else {
    query->status = std::move(status);
    worker_.Run([query] { query->finish_retrieve(*query); });
  }
  ReleaseBank(query);
}

void QueryRunner::ReleasePages(Query* query) {
  query->job = PromptJob();
  if (query->rank >= 0) query->kv.Release(&team_->pool());
  query->rank = -1;
}

// After everything that reads them. The last owner of a deleted bank closes its catalog and removes
// its files, which must not hold up a step.
void QueryRunner::ReleaseBank(const std::shared_ptr<Query>& query) {
  worker_.Run([query] {
    query->pin.reset();
    query->bank.reset();
  });
}

}  // namespace msa::engine
