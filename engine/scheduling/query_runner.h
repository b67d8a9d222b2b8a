#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine_observer.h"
#include "engine/model/model_config.h"
#include "engine/scheduling/background_worker.h"
#include "engine/scheduling/query.h"
#include "engine/scheduling/rank_team.h"

namespace msa::engine {

// Moves queries through their states: a round starts when its rows fit, tokens decide what comes
// next, ends are reported. Everything but the background tasks runs on the scheduler's thread,
// between steps.
class QueryRunner {
 public:
  // `wake`: tells the scheduler, from any thread, that a query left kAssembling.
  // `max_kept_bytes`: a prompt whose rows take more is not kept for the next round.
  QueryRunner(const ModelConfig* config, int64_t template_rows, RankTeam* team,
              int64_t max_kept_bytes, Clock* clock, EngineObserver* observer,
              std::function<void()> wake);

  // Positions beyond the model's. Any thread.
  absl::Status CheckPositions(const Query& query) const;

  // kWaiting -> kPrefill on `rank` if there are the pages and the prompt's activations fit in what
  // is free. Ends the query if it can never fit: too many positions, or more pages than there are.
  bool TryStartRound(const std::shared_ptr<Query>& query, int rank, int64_t free_activation_bytes);
  // After a step that had the query in it: chose a token, finished routing, or failed.
  void AfterStep(const std::shared_ptr<Query>& query);
  // Those whose assembly is over since the last call.
  std::vector<std::shared_ptr<Query>> TakeAssembled();
  // kAssembling is over: kWaiting with the next prompt, or finished.
  void AfterAssembly(const std::shared_ptr<Query>& query);
  // Ends the query with an error and frees its pages. Not while it is kAssembling.
  void Fail(const std::shared_ptr<Query>& query, absl::Status status);
  // Ends the background work that is left; nothing else may be called afterwards.
  void Stop() { worker_.Stop(); }

 private:
  int64_t RouterWidth() const;  // of a routed row
  // Pages that the query's next round needs. Exact for local rows; memory is bounded by
  // the bank's k largest documents, also where a filter leaves smaller ones.
  int64_t PagesForRound(const Query& query) const;
  int64_t ActivationBytes(const Query& query) const;  // of the query's next prompt
  int64_t KeptBytes(const Query& query) const;        // of its rows, where they are kept
  absl::Status CheckFits(const Query& query, int64_t pages) const;
  void OnToken(const std::shared_ptr<Query>& query);
  void StartJob(Query* query, std::vector<int32_t> token_ids);
  // Brings what the query has kept into the round's prompt, as far as the tokens are the same.
  void ReuseKeptRows(Query* query);
  void PrepareAnswerBlock(Query* query);
  void ReportRound(const std::shared_ptr<Query>& query);
  void Assemble(const std::shared_ptr<Query>& query);
  void Finish(const std::shared_ptr<Query>& query);
  void EmitText(Query* query);
  void ReleasePages(Query* query);
  void ReleaseBank(const std::shared_ptr<Query>& query);

  const ModelConfig* config_;
  int64_t template_rows_;
  int64_t max_kept_bytes_;
  RankTeam* team_;
  Clock* clock_;
  EngineObserver* observer_;
  std::function<void()> wake_;
  std::mutex assembled_mutex_;
  std::vector<std::shared_ptr<Query>> assembled_;
  BackgroundWorker worker_;  // last: its tasks use the rest
};

// The union of a round's selections, best layer score first (ties: lower number), without ids.
std::vector<RoutedDocument> UnionOfSelections(const ModelConfig& config,
                                              const std::vector<Selection>& selections);
std::vector<LayerSelection> LayersOf(const ModelConfig& config,
                                     const std::vector<Selection>& selections);
// Fills in ids (and texts) that the pin may see. DATA_LOSS names a document without a row.
absl::Status LookUpDocuments(const Bank& bank, const BankPin& pin, bool with_text,
                             std::vector<RoutedDocument>* documents);

}  // namespace msa::engine
