#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "engine/engine.h"

namespace msa::bench {

// `words` words that differ by `seed`.
std::string Text(int words, int seed);

// A question to bank "bench" that a random model answers with `new_tokens` tokens, greedy and free.
engine::GenerateRequest Question(int words, int seed, int new_tokens);

// An answer that is read as it comes. Errors end the program. One thread.
class Reader {
 public:
  Reader(engine::Engine* engine, engine::GenerateRequest request);
  // Reads to the end; `text` gets what was written.
  engine::FinishedEvent Wait(std::string* text);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ready_ = false;  // under mutex_
  engine::FinishedEvent finished_;
  std::unique_ptr<engine::GenerateStream> stream_;
};

}  // namespace msa::bench
