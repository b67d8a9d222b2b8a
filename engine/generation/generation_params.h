#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace msa::engine {

struct SamplingParams {
  float temperature = 0;  // 0: greedy; at most 10
  float top_p = 1;        // (0, 1]
  uint64_t seed = 0;      // the same seed and request give the same tokens
};

// Bounds of one request. The server checks them against its own limits first.
struct GenerationParams {
  SamplingParams sampling;
  bool constrain_citations = true;  // only this round's selected documents can be cited
  int32_t max_rounds = 8;      // routed rounds; constrained, the last one can only end retrieval
  int32_t max_citations = 16;  // per round
  int32_t max_retrieval_tokens = 256;  // written per round before it is cut
  int32_t max_answer_tokens = 512;
  int64_t max_expansion_bytes = int64_t{1} << 20;  // of cited text over all rounds
  std::vector<std::string> stop;                   // ends the answer, is not part of it
};

}  // namespace msa::engine
