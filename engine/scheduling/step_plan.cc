#include "engine/scheduling/step_plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/model/transformer.h"

namespace msa::engine {
namespace {

constexpr int64_t kMinSliceRows = 16;  // below it, a product is bound by reading its weights
constexpr double kInitialFlops = 2e10;
// A multiply-add of attention takes so much longer than one of a product.
constexpr double kAttentionCost = 1.5;
constexpr double kEncodeShare = 0.25;  // of the step while queries run
// Of the time of a decode batch, what the slices beside it may take. The rest is for what a forecast
// is off by, so that a running answer takes at most about twice its time.
constexpr double kDecodeShare = 0.92;

// Multiply-adds of the products of a row in one layer.
double LayerProducts(const ModelConfig& c) {
  return static_cast<double>(c.hidden_size *
                             (2 * c.query_width() + 2 * c.kv_width() + 3 * c.ffn_size));
}

}  // namespace

bool StepPlan::empty() const {
  for (const Stage& stage : stages) {
    if (!stage.routes.empty()) return false;
    for (const std::vector<Slice>& slices : stage.slices) {
      if (!slices.empty()) return false;
    }
  }
  return decode.empty();
}

Planner::Planner(const ModelConfig* config, int num_ranks, absl::Duration slice_time)
    : config_(config), num_ranks_(num_ranks), slice_time_(slice_time) {
  seconds_per_row_layer_ = 2 * LayerProducts(*config) / kInitialFlops;
}

double Planner::ProductWork(const Slice& slice) const {
  const ModelConfig& c = *config_;
  int64_t width = c.query_width() + 3 * c.ffn_size;
  if (slice.at.phase == LayerPhase::kProject) {
    const bool is_document = slice.encode != nullptr;
    const bool needs_query = !is_document || slice.at.layer + 1 < c.num_layers;
    const bool routes = c.MsaIndex(slice.at.layer) >= 0 && c.decouple_router;
    width = (needs_query ? c.query_width() : 0) + 2 * c.kv_width();
    if (routes) width += is_document ? c.kv_width() : c.query_width();
  }
  return static_cast<double>(c.hidden_size * width) / LayerProducts(c);
}

double Planner::SeenRowWork() const {
  return kAttentionCost * 2 * static_cast<double>(config_->query_width()) / LayerProducts(*config_);
}

void Planner::LearnDecode(absl::Duration elapsed) {
  // One slow step must not make the next one slow.
  decode_time_ = decode_time_ == absl::ZeroDuration() ? elapsed : (decode_time_ + elapsed) / 2;
}

void Planner::Learn(double row_layers, absl::Duration elapsed) {
  if (row_layers <= 0) return;
  const double measured = absl::ToDoubleSeconds(elapsed) / row_layers;
  seconds_per_row_layer_ += 0.2 * (measured - seconds_per_row_layer_);
}

// The next rows of the current half layer, within the budget but for the first slice of a step;
// moves the cursor's row. False when the budget is spent.
bool Planner::NextSlice(ForwardJob* job, int64_t first_row, int64_t num_rows, Budget* budget,
                        Slice* slice) const {
  if (budget->spent_any && budget->row_layers <= 0) return false;
  Cursor& cursor = job->cursor;
  cursor.row = std::max(cursor.row, first_row);
  slice->at = cursor;
  const double products = ProductWork(*slice);
  const double seen_row = cursor.phase == LayerPhase::kAttend ? SeenRowWork() : 0;
  const int64_t end = std::min(num_rows, cursor.row + Transformer::kMaxRows);
  const int64_t least = std::min(end, cursor.row + kMinSliceRows);
  int64_t row = cursor.row;
  for (; row < end; ++row) {
    const double work = products + seen_row * job->visible[static_cast<size_t>(row)];
    if (row >= least && slice->row_layers + work > budget->row_layers) break;
    slice->row_layers += work;
  }
  // The least that can be done may be far more than what is left.
  if (budget->spent_any && row == least && slice->row_layers > budget->row_layers) return false;
  cursor.row = slice->row_end = row;
  budget->row_layers -= slice->row_layers;
  budget->spent_any = true;
  return true;
}

// Plans slices of a prompt up to its next routing point, its end or the end of the budget. True if
// it is at a routing point, so that the next stage can go on.
bool Planner::PlanPrompt(Query* query, int rank, Budget* budget, StepPlan::Stage* stage) const {
  PromptJob& job = query->job;
  Cursor& cursor = job.cursor;
  while (!query->job_done) {
    const bool last_layer = cursor.layer == config_->num_layers - 1;
    const bool attend = cursor.phase == LayerPhase::kAttend;
    const int64_t first_row = cursor.layer < config_->msa_layers.front() ? job.reused_rows
                              : last_layer && attend                     ? job.last_layer_first_row
                                                                         : 0;
    Slice slice{.query = query};
    if (!NextSlice(&job, first_row, job.num_rows(), budget, &slice)) return false;
    std::vector<Slice>& slices = stage->slices[static_cast<size_t>(rank)];
    const bool half_done = cursor.row == job.num_rows();
    if (!half_done) {
      slices.push_back(slice);
      continue;
    }
    const int msa_index = config_->MsaIndex(cursor.layer);
    cursor = attend ? Cursor{cursor.layer + 1, LayerPhase::kProject, 0}
                    : Cursor{cursor.layer, LayerPhase::kAttend, 0};
    if (!attend && job.routes && msa_index >= 0) {
      slices.push_back(slice);
      // A query that only asks what is routed is done with the last selection, and needs no content
      // of that layer.
      const bool ends_here =
          query->events == nullptr && msa_index + 1 == static_cast<int>(config_->msa_layers.size());
      const auto i = static_cast<size_t>(msa_index);
      stage->routes.push_back({.rank = rank,
                               .bank = query->bank.get(),
                               .revision = query->pin->revision(),
                               .filter = query->documents ? &query->documents_view : nullptr,
                               .msa_index = msa_index,
                               .num_rows = static_cast<int64_t>(job.routed_rows.size()),
                               .router_query = job.router_query.data(),
                               .selection = &query->selections[i],
                               .memory = ends_here ? nullptr : &query->kv.memory[i],
                               .status = &query->status,
                               .score_time = &query->timings.score,
                               .fetch_time = &query->timings.fetch});
      query->job_done = ends_here;
      return true;
    }
    query->job_done = attend && last_layer;
    slice.completes_job = query->job_done;
    slices.push_back(slice);
  }
  return false;
}

bool Planner::PlanEncode(EncodeJob* job, Budget* budget, std::vector<Slice>* slices) const {
  Cursor& cursor = job->cursor;
  while (!job->finished) {
    Slice slice{.encode = job};
    if (!NextSlice(job, 0, job->num_rows(), budget, &slice)) return false;
    if (cursor.row == job->num_rows()) {
      const bool attend = cursor.phase == LayerPhase::kAttend;
      // Documents need only K, V and router keys of the last layer.
      job->finished = !attend && cursor.layer == config_->num_layers - 1;
      cursor = attend ? Cursor{cursor.layer + 1, LayerPhase::kProject, 0}
                      : Cursor{cursor.layer, LayerPhase::kAttend, 0};
      slice.completes_job = job->finished;
    }
    slices->push_back(slice);
  }
  return true;
}

StepPlan Planner::Plan(const std::vector<std::vector<Query*>>& prefills,
                       const std::vector<std::vector<EncodeJob*>>& encodes,
                       std::vector<Query*> decodes) {
  StepPlan plan;
  plan.decode = std::move(decodes);
  const auto ranks = static_cast<size_t>(num_ranks_);
  const bool decoding = !plan.decode.empty();
  const bool queries = decoding || std::any_of(prefills.begin(), prefills.end(),
                                               [](const auto& q) { return !q.empty(); });
  // Ranks share the cores, so a step of all ranks takes the sum of their work.
  const absl::Duration aim =
      decoding ? std::max(slice_time_, kDecodeShare * decode_time_) : slice_time_;
  const double whole =
      absl::ToDoubleSeconds(aim) / seconds_per_row_layer_ / static_cast<double>(num_ranks_);
  const bool documents =
      std::any_of(encodes.begin(), encodes.end(), [](const auto& jobs) { return !jobs.empty(); });
  const double encode_part = !documents ? 0 : queries ? kEncodeShare * whole : whole;
  std::vector<Budget> prompt_budgets(ranks, {.row_layers = whole - encode_part});
  plan.stages.push_back({.slices = std::vector<std::vector<Slice>>(ranks)});
  for (size_t r = 0; r < ranks; ++r) {
    Budget budget{.row_layers = encode_part};
    for (EncodeJob* job : encodes[r]) {
      if (!PlanEncode(job, &budget, &plan.stages[0].slices[r])) break;
    }
  }
  std::vector<std::vector<Query*>> going = prefills;
  while (true) {
    StepPlan::Stage& stage = plan.stages.back();
    for (size_t r = 0; r < ranks; ++r) {
      std::vector<Query*> at_route;
      for (Query* query : going[r]) {
        if (PlanPrompt(query, static_cast<int>(r), &prompt_budgets[r], &stage))
          at_route.push_back(query);
      }
      going[r] = std::move(at_route);
    }
    if (stage.routes.empty()) break;
    plan.stages.push_back({.slices = std::vector<std::vector<Slice>>(ranks)});
  }
  return plan;
}

}  // namespace msa::engine
