#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "engine/generation/interleave.h"

namespace msa::engine {

// Where the time of a query went. Sums over rounds.
struct StageTimings {
  absl::Duration queue;     // waiting for admission
  absl::Duration tokenize;  // building prompts, reading cited texts
  absl::Duration prefill;   // prompt rows through the layers, without the next three
  absl::Duration score;     // scoring router keys, with the exchange of candidates
  absl::Duration fetch;     // reading the winners' content into pages
  absl::Duration decode;
  absl::Duration total;
  absl::Duration time_to_first_token;
};

struct RoutedDocument {
  struct LayerScore {
    int64_t layer = 0;  // the model's layer number
    float score = 0;
    int rank = 0;  // 1 = best
  };
  uint32_t number = 0;
  std::string id;
  float best_score = 0;            // over the layers that selected it
  std::vector<LayerScore> layers;  // those that selected it, ascending
  std::string text;                // only if asked for
  int shard = -1;
};

struct LayerSelection {
  int64_t layer = 0;
  std::vector<uint32_t> numbers;  // best first
  std::vector<float> scores;
};

struct StartedEvent {
  uint64_t revision = 0;       // of the bank, pinned for the whole query
  int64_t prompt_tokens = 0;   // of the first round
  int64_t bank_documents = 0;  // in the bank when the query started
  absl::Duration queue;
};

// Routing of a round is done.
struct RoundEvent {
  int index = 0;                          // 0-based
  std::vector<RoutedDocument> documents;  // union of the layers' selections, best first
  std::vector<LayerSelection> layers;     // if asked for
  int64_t prompt_tokens = 0;
};

// The model ended a round by citing; the cited documents are appended and routed again.
struct CitationsEvent {
  struct Cited {
    uint32_t number = 0;
    std::string id;
  };
  int round = 0;
  std::vector<Cited> documents;  // those that exist, ascending
  std::vector<uint32_t>
      unknown_numbers;  // printed by the model, but not documents of this bank and revision
};

struct TokenEvent {
  Interleave::Phase phase = Interleave::Phase::kRetrieval;
  int round = 0;
  std::string text;  // complete characters; may be of several tokens
};

struct FinishedEvent {
  FinishReason reason = FinishReason::kStop;
  std::string answer;
  struct Source {
    uint32_t number = 0;
    std::string id;
    int round = 0;  // in which it was cited
  };
  std::vector<Source> sources;  // every document that was cited and read, in order of rounds
  int64_t num_rounds = 0;
  int64_t prompt_tokens = 0;     // over all rounds
  int64_t generated_tokens = 0;  // over all rounds, answer included
  bool without_memory = false;   // the bank had no visible document
  StageTimings timings;
};

using QueryEvent =
    std::variant<StartedEvent, RoundEvent, CitationsEvent, TokenEvent, FinishedEvent>;

}  // namespace msa::engine
