#include "engine/generation/interleave.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/generation/answer_text.h"
#include "engine/generation/citation_constraint.h"
#include "engine/generation/citations.h"
#include "engine/text/stream_decoder.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"

namespace msa::engine {

struct Interleave::State {
  // Where a marker stands in round_text.
  struct Marker {
    size_t begin = 0;
    size_t end = 0;
    bool ends_retrieval = false;
  };

  State(const Tokenizer* the_tokenizer, const PromptTemplate* the_template,
        std::vector<int32_t> eos_token_ids, GenerationParams the_params, std::string the_question)
      : tokenizer(the_tokenizer),
        prompt_template(the_template),
        eos(std::move(eos_token_ids)),
        params(std::move(the_params)),
        question(std::move(the_question)),
        running(the_tokenizer),
        answer_block(the_template->AnswerBlock(question)),
        answer_block_ids(EncodePieces(*the_tokenizer, answer_block)),
        retrieval_decoder(the_tokenizer, /*skip_special=*/false),
        answer_decoder(the_tokenizer, /*skip_special=*/true),
        answer(the_template->strings().answer_prefix, params.stop) {
    if (const auto id = the_template->end_of_turn_id(); id.has_value()) eos.push_back(*id);
    running.Append(the_template->Prompt(question));
  }

  bool IsEos(int32_t token_id) const {
    return std::find(eos.begin(), eos.end(), token_id) != eos.end();
  }
  void AppendModelToken(int32_t token_id);
  std::optional<Marker> FindMarker(size_t num_new_bytes) const;
  Action OnRetrievalToken(int32_t token_id);
  Action OnAnswerToken(int32_t token_id);
  Action EndRound(const Marker& marker, int32_t token_id);
  Action Finish(FinishReason reason);
  void BeginRound();

  const Tokenizer* const tokenizer;
  const PromptTemplate* const prompt_template;
  std::vector<int32_t> eos;
  const GenerationParams params;
  const std::string question;

  RunningText running;
  const std::vector<TextPiece> answer_block;
  const std::vector<int32_t> answer_block_ids;
  std::optional<CitationConstraint> constraint;  // none: citations are free
  StreamDecoder retrieval_decoder;
  StreamDecoder answer_decoder;
  AnswerText answer;

  // The current round.
  int round = 0;
  bool is_selected = false;  // OnSelected was called
  std::string round_text;    // bytes of the model's tokens, special ones spelled out
  int64_t num_round_tokens = 0;
  std::vector<uint32_t> citations;
  bool closes_citation = false;  // "]" stands directly before the marker, and nothing after it

  Phase phase = Phase::kRetrieval;       // of the last token
  Phase next_phase = Phase::kRetrieval;  // of the next one
  std::string retrieval_text;            // not yet taken
  int64_t num_tokens = 0;
  int64_t num_answer_tokens = 0;
  int64_t expansion_bytes = 0;
  std::optional<FinishReason> finish_reason;
};

void Interleave::State::AppendModelToken(int32_t token_id) {
  running.AppendModelToken(token_id);
  round_text += tokenizer->TokenBytes(token_id);
}

// The marker that is complete first, if the last `num_new_bytes` bytes of the round's text
// completed one.
std::optional<Interleave::State::Marker> Interleave::State::FindMarker(size_t num_new_bytes) const {
  std::optional<Marker> first;
  const auto look_for = [&](const std::string& text, bool ends_retrieval) {
    const size_t num_old_bytes = round_text.size() - num_new_bytes;
    const size_t from = num_old_bytes < text.size() ? 0 : num_old_bytes - text.size() + 1;
    const size_t begin = round_text.find(text, from);
    if (begin == std::string::npos) return;
    const size_t end = begin + text.size();
    if (!first.has_value() || end < first->end) first = Marker{begin, end, ends_retrieval};
  };
  look_for(prompt_template->strings().end_of_retrieve, true);
  look_for(prompt_template->strings().citations_end, false);
  return first;
}

Interleave::Action Interleave::State::OnRetrievalToken(int32_t token_id) {
  const std::string_view bytes = tokenizer->TokenBytes(token_id);
  const bool is_marker = token_id == prompt_template->citations_end_id() ||
                         token_id == prompt_template->end_of_retrieve_id();
  // Some checkpoints list the markers among the eos ids; here they mean more.
  if (IsEos(token_id) && !is_marker) return Finish(FinishReason::kNoAnswer);
  AppendModelToken(token_id);
  retrieval_text += retrieval_decoder.Push(token_id);
  ++num_round_tokens;
  if (constraint.has_value() && !constraint->Advance(token_id, bytes)) {
    MSA_CHECK(constraint->allowed().empty(), "the token is not one of AllowedTokens");
    return Finish(FinishReason::kNoAnswer);
  }
  if (const std::optional<Marker> marker = FindMarker(bytes.size()); marker.has_value()) {
    return EndRound(*marker, token_id);
  }
  if (num_round_tokens >= params.max_retrieval_tokens) {
    return Finish(FinishReason::kMaxRetrievalTokens);
  }
  if (constraint.has_value() && constraint->allowed().empty()) {
    return Finish(FinishReason::kNoAnswer);
  }
  return Action::kDecode;
}

Interleave::Action Interleave::State::EndRound(const Marker& marker, int32_t token_id) {
  retrieval_text += retrieval_decoder.Finish();
  if (marker.ends_retrieval) {
    running.Append(answer_block);
    next_phase = Phase::kAnswer;
    return Action::kFeedAnswerBlock;
  }
  citations = FindCitations(round_text, static_cast<size_t>(std::max(params.max_citations, 0)));
  closes_citation =
      marker.begin > 0 && round_text[marker.begin - 1] == ']' && marker.end == round_text.size();
  // A marker that the model spelled with ordinary tokens is read as the special token from the next
  // round on.
  if (const auto id = prompt_template->citations_end_id(); id.has_value() && *id != token_id) {
    std::vector<TextPiece> pieces = prompt_template->CitationsEnd();
    if (marker.end < round_text.size()) pieces.push_back({-1, round_text.substr(marker.end)});
    running.ReplaceModelEnd(round_text.size() - marker.begin, pieces);
  }
  if (round + 1 >= params.max_rounds) return Finish(FinishReason::kMaxRounds);
  return Action::kExpand;
}

Interleave::Action Interleave::State::OnAnswerToken(int32_t token_id) {
  if (IsEos(token_id)) return Finish(FinishReason::kStop);
  AppendModelToken(token_id);
  ++num_answer_tokens;
  if (answer.Push(answer_decoder.Push(token_id))) return Finish(FinishReason::kStopString);
  if (num_answer_tokens >= params.max_answer_tokens) return Finish(FinishReason::kMaxAnswerTokens);
  return Action::kDecode;
}

Interleave::Action Interleave::State::Finish(FinishReason reason) {
  if (phase == Phase::kRetrieval) {
    retrieval_text += retrieval_decoder.Finish();
  } else if (reason != FinishReason::kStopString) {
    const bool is_stopped = answer.Push(answer_decoder.Finish()) || answer.Finish();
    if (is_stopped) reason = FinishReason::kStopString;
  }
  finish_reason = reason;
  return Action::kFinished;
}

void Interleave::State::BeginRound() {
  ++round;
  is_selected = false;
  round_text.clear();
  num_round_tokens = 0;
  citations.clear();
  closes_citation = false;
}

Interleave::Interleave(const Tokenizer* tokenizer, const PromptTemplate* prompt_template,
                       const TokenTrie* trie, std::vector<int32_t> eos_token_ids,
                       GenerationParams params, std::string question)
    : state_(std::make_unique<State>(tokenizer, prompt_template, std::move(eos_token_ids),
                                     std::move(params), std::move(question))) {
  if (!state_->params.constrain_citations) return;
  MSA_CHECK(trie != nullptr, "constrained citations need the vocabulary's trie");
  const PromptStrings& strings = prompt_template->strings();
  state_->constraint.emplace(
      trie, RoundMarker{prompt_template->citations_end_id(), strings.citations_end},
      RoundMarker{prompt_template->end_of_retrieve_id(), strings.end_of_retrieve});
}

Interleave::~Interleave() = default;

RoundPrompt Interleave::FirstRound() const {
  MSA_CHECK(state_->round == 0 && state_->num_tokens == 0, "the first round has begun already");
  return state_->running.Encode(/*is_first_round=*/true);
}

void Interleave::OnSelected(absl::Span<const uint32_t> numbers) {
  MSA_CHECK(!state_->is_selected, "one selection per round");
  state_->is_selected = true;
  if (!state_->constraint.has_value()) return;
  const bool is_last_round = state_->round + 1 >= state_->params.max_rounds;
  state_->constraint->Begin(numbers, state_->params.max_citations, /*must_end=*/is_last_round);
}

absl::Span<const int32_t> Interleave::AllowedTokens() const {
  if (!state_->constraint.has_value() || state_->next_phase == Phase::kAnswer) return {};
  return state_->constraint->allowed();
}

Interleave::Action Interleave::OnToken(int32_t token_id) {
  MSA_CHECK(!state_->finish_reason.has_value(), "the request is finished");
  MSA_CHECK(state_->is_selected, "a round's tokens come after its selection");
  ++state_->num_tokens;
  state_->phase = state_->next_phase;
  return state_->phase == Phase::kRetrieval ? state_->OnRetrievalToken(token_id)
                                            : state_->OnAnswerToken(token_id);
}

const std::vector<int32_t>& Interleave::answer_block_ids() const {
  return state_->answer_block_ids;
}

const std::vector<uint32_t>& Interleave::citations() const { return state_->citations; }

Interleave::Action Interleave::Expand(absl::Span<const ExpandedDocument> documents,
                                      RoundPrompt* prompt) {
  State& state = *state_;
  MSA_CHECK(!state.finish_reason.has_value(), "the request is finished");
  std::vector<TextPiece> pieces;
  for (size_t i = 0; i < documents.size(); ++i) {
    const ExpandedDocument& document = documents[i];
    MSA_CHECK(i == 0 || documents[i - 1].number < document.number, "documents must ascend");
    state.expansion_bytes += static_cast<int64_t>(document.text.size());
    const std::vector<TextPiece> one =
        state.prompt_template->Expansion(document.number, document.text);
    pieces.insert(pieces.end(), one.begin(), one.end());
  }
  if (state.expansion_bytes > state.params.max_expansion_bytes) {
    return state.Finish(FinishReason::kMaxExpansion);
  }
  // As the model was trained: only documents that directly follow "]" and the marker take over
  // routing.
  if (!pieces.empty() && state.closes_citation) {
    state.running.AppendRoutedExpansion(pieces);
  } else {
    state.running.Append(pieces);
  }
  state.running.Append(state.prompt_template->CitationsEnd());
  state.BeginRound();
  *prompt = state.running.Encode(/*is_first_round=*/false);
  return Action::kDecode;
}

Interleave::Phase Interleave::phase() const { return state_->phase; }

int Interleave::round() const { return state_->round; }

std::string Interleave::TakeText() {
  std::string text = std::exchange(state_->retrieval_text, {});
  text += state_->answer.Take();
  return text;
}

FinishReason Interleave::finish_reason() const {
  MSA_CHECK(state_->finish_reason.has_value(), "the request is not finished");
  return *state_->finish_reason;
}

std::string Interleave::answer() const { return state_->answer.answer(); }

std::string Interleave::round_text() const { return ReplaceInvalidUtf8(state_->round_text); }

std::string Interleave::running_text() const { return state_->running.Spell(); }

int64_t Interleave::num_generated_tokens() const { return state_->num_tokens; }

}  // namespace msa::engine
