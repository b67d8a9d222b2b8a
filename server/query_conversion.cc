#include "server/query_conversion.h"

#include <variant>

#include "server/memory_conversion.h"

namespace msa::server {
namespace {

void FillDocument(const engine::RoutedDocument& document, bool explain_layers,
                  v1::RoutedDocument* out) {
  out->set_number(document.number);
  out->set_document_id(document.id);
  out->set_best_score(document.best_score);
  out->set_text(document.text);
  out->set_shard(document.shard);
  if (!explain_layers) return;
  for (const auto& layer : document.layers) {
    v1::LayerScore* score = out->add_layers();
    score->set_layer(static_cast<int32_t>(layer.layer));
    score->set_score(layer.score);
    score->set_rank(layer.rank);
  }
}

void FillSelection(const engine::LayerSelection& selection, v1::LayerSelection* out) {
  out->set_layer(static_cast<int32_t>(selection.layer));
  out->mutable_numbers()->Add(selection.numbers.begin(), selection.numbers.end());
  out->mutable_scores()->Add(selection.scores.begin(), selection.scores.end());
}

void FillTimings(const engine::StageTimings& timings, bool has_first_token, v1::StageTimings* out) {
  ToProto(timings.queue, out->mutable_queue());
  ToProto(timings.tokenize, out->mutable_tokenize());
  ToProto(timings.prefill, out->mutable_prefill());
  ToProto(timings.score, out->mutable_score());
  ToProto(timings.fetch, out->mutable_fetch());
  ToProto(timings.decode, out->mutable_decode());
  ToProto(timings.total, out->mutable_total());
  if (has_first_token) ToProto(timings.time_to_first_token, out->mutable_time_to_first_token());
}

// One overload per alternative of QueryEvent.
struct EventWriter {
  bool explain_layers;
  v1::GenerateResponse* out;

  void operator()(const engine::StartedEvent& event) const {
    v1::GenerateStarted* started = out->mutable_started();
    started->set_revision(event.revision);
    started->set_prompt_tokens(event.prompt_tokens);
    started->set_bank_documents(event.bank_documents);
    ToProto(event.queue, started->mutable_queue_time());
  }

  void operator()(const engine::RoundEvent& event) const {
    v1::GenerateRound* round = out->mutable_round();
    round->set_round(event.index);
    round->set_prompt_tokens(event.prompt_tokens);
    for (const auto& document : event.documents)
      FillDocument(document, explain_layers, round->add_documents());
    if (!explain_layers) return;
    for (const auto& layer : event.layers) FillSelection(layer, round->add_layers());
  }

  void operator()(const engine::CitationsEvent& event) const {
    v1::GenerateCitations* citations = out->mutable_citations();
    citations->set_round(event.round);
    for (const auto& cited : event.documents) {
      v1::Citation* citation = citations->add_documents();
      citation->set_number(cited.number);
      citation->set_document_id(cited.id);
      citation->set_round(event.round);
    }
    citations->mutable_unknown_numbers()->Add(event.unknown_numbers.begin(),
                                              event.unknown_numbers.end());
  }

  void operator()(const engine::TokenEvent& event) const {
    v1::GenerateToken* token = out->mutable_token();
    token->set_phase(event.phase == engine::Interleave::Phase::kAnswer
                         ? v1::GENERATION_PHASE_ANSWER
                         : v1::GENERATION_PHASE_RETRIEVAL);
    token->set_round(event.round);
    token->set_text(event.text);
  }

  void operator()(const engine::FinishedEvent& event) const {
    v1::GenerateFinished* finished = out->mutable_finished();
    finished->set_reason(ToProto(event.reason));
    finished->set_answer(event.answer);
    for (const auto& source : event.sources) {
      v1::Citation* citation = finished->add_sources();
      citation->set_number(source.number);
      citation->set_document_id(source.id);
      citation->set_round(source.round);
    }
    finished->mutable_usage()->set_prompt_tokens(event.prompt_tokens);
    finished->mutable_usage()->set_generated_tokens(event.generated_tokens);
    finished->mutable_usage()->set_rounds(static_cast<int32_t>(event.num_rounds));
    finished->set_without_memory(event.without_memory);
    FillTimings(event.timings, event.generated_tokens > 0, finished->mutable_timings());
  }
};

}  // namespace

void ToProto(const engine::QueryEvent& event, bool explain_layers, v1::GenerateResponse* out) {
  std::visit(EventWriter{explain_layers, out}, event);
}

void ToProto(const engine::RetrieveResult& result, bool explain_layers, v1::RetrieveResponse* out) {
  for (const auto& hit : result.hits) FillDocument(hit, explain_layers, out->add_hits());
  if (explain_layers) {
    for (const auto& layer : result.layers) FillSelection(layer, out->add_layers());
  }
  out->set_revision(result.revision);
  out->set_prompt_tokens(result.prompt_tokens);
  FillTimings(result.timings, /*has_first_token=*/false, out->mutable_timings());
}

v1::FinishReason ToProto(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case engine::FinishReason::kStopString:
      return v1::FINISH_REASON_STOP_STRING;
    case engine::FinishReason::kMaxAnswerTokens:
      return v1::FINISH_REASON_MAX_ANSWER_TOKENS;
    case engine::FinishReason::kNoAnswer:
      return v1::FINISH_REASON_NO_ANSWER;
    case engine::FinishReason::kMaxRetrievalTokens:
      return v1::FINISH_REASON_MAX_RETRIEVAL_TOKENS;
    case engine::FinishReason::kMaxRounds:
      return v1::FINISH_REASON_MAX_ROUNDS;
    case engine::FinishReason::kMaxExpansion:
      return v1::FINISH_REASON_MAX_EXPANSION;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

}  // namespace msa::server
