#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/generation/generation_params.h"
#include "engine/generation/running_text.h"
#include "engine/generation/token_trie.h"
#include "engine/text/prompt_template.h"
#include "engine/text/tokenizer.h"

namespace msa::engine {

enum class FinishReason {
  kStop,        // an eos token ended the answer
  kStopString,  // one of `stop`
  kMaxAnswerTokens,
  // An eos came before retrieval was ended, or the vocabulary cannot spell what has to follow.
  kNoAnswer,
  kMaxRetrievalTokens,  // a round reached its token limit without a marker
  kMaxRounds,           // the model wanted another round than max_rounds allows
  kMaxExpansion,        // cited text exceeds max_expansion_bytes
};

// A cited document that was appended.
struct ExpandedDocument {
  uint32_t number = 0;
  std::string id;
  std::string text;
};

// Memory Interleave: the text-level state machine of one request (semantics: cite, expand, route
// again, end retrieval, answer). It holds the running text as pieces and decides what happens after
// each token; it never sees tensors. One thread at a time.
//
//   FirstRound -> (prefill) -> OnSelected -> token -> OnToken -> kDecode: (feed) -> token ...
//     kExpand: Expand -> (prefill) -> OnSelected -> token ...
//     kFeedAnswerBlock: (feed both) -> token ... -> kFinished
class Interleave {
 public:
  // `tokenizer`, `prompt_template` and `trie` must outlive the object. `trie` may be null when
  // citations are free. The template's end_of_turn counts as an eos token.
  Interleave(const Tokenizer* tokenizer, const PromptTemplate* prompt_template,
             const TokenTrie* trie, std::vector<int32_t> eos_token_ids, GenerationParams params,
             std::string question);
  ~Interleave();

  RoundPrompt FirstRound() const;

  // The union of this round's selections over the layers (any order, repetitions count once), once
  // routing is done; before the round's first token.
  void OnSelected(absl::Span<const uint32_t> numbers);

  // What the next token may be: ascending ids, or empty for every id. Valid until the next call of
  // OnToken.
  absl::Span<const int32_t> AllowedTokens() const;

  enum class Action {
    kDecode,           // feed the token, choose another
    kFeedAnswerBlock,  // feed the token and then answer_block_ids(), choose another
    kExpand,           // the round is over: look up citations(), call Expand, prefill its prompt
    kFinished,         // see the results below; the token need not be fed
  };
  Action OnToken(int32_t token_id);

  const std::vector<int32_t>& answer_block_ids() const;

  // Citations of the round that just ended: unique, ascending, at most max_citations (those written
  // first); known or not. Kept until the next round begins.
  const std::vector<uint32_t>& citations() const;

  // The next round: kDecode, once `prompt` is prefilled and OnSelected called. `documents`: those
  // of citations() that exist and are visible, ascending. kFinished (as the finish reason says)
  // when a bound forbids it; then `prompt` is untouched.
  Action Expand(absl::Span<const ExpandedDocument> documents, RoundPrompt* prompt);

  // ---- what has been written
  enum class Phase { kRetrieval, kAnswer };
  // The phase that the last token belongs to, and so the text that TakeText then returns: still
  // kRetrieval when OnToken returned kFeedAnswerBlock.
  Phase phase() const;
  int round() const;  // 0-based
  // Complete characters that OnToken added since the last call; special tokens are spelled out in
  // the retrieval phase and an eos is left out. In the answer phase only the answer shows: neither
  // the answer prefix, nor white space before the answer, nor what a stop string may still take
  // back. What it returns in that phase is answer() in all, up to white space at the end.
  std::string TakeText();

  FinishReason finish_reason() const;  // valid once finished
  // What the model wrote after the answer block, without the answer prefix if that comes first;
  // trimmed.
  std::string answer() const;
  // What the model wrote in the current round, special tokens spelled out.
  std::string round_text() const;
  // The first prompt and everything since, special tokens spelled out.
  std::string running_text() const;
  int64_t num_generated_tokens() const;  // calls of OnToken

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace msa::engine
