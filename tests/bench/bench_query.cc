#include "tests/bench/bench_query.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "tests/bench/bench_output.h"

namespace msa::bench {

std::string Text(int words, int seed) {
  const char* const kWords[] = {"river",  "stone",  "market", "clock",
                                "garden", "letter", "winter", "bridge"};
  std::string text;
  for (int i = 0; i < words; ++i)
    absl::StrAppend(&text, i == 0 ? "" : " ", kWords[(i * 5 + seed * 3 + i / 7) % 8]);
  return text;
}

engine::GenerateRequest Question(int words, int seed, int new_tokens) {
  engine::GenerateRequest request;
  request.bank = "bench";
  request.question = Text(words, seed);
  request.params.constrain_citations = false;
  request.params.max_retrieval_tokens = new_tokens;
  request.params.max_answer_tokens = 1;
  request.params.max_rounds = 1;
  return request;
}

Reader::Reader(engine::Engine* engine, engine::GenerateRequest request) {
  auto stream = engine->Generate(std::move(request), [this] {
    std::lock_guard lock(mutex_);
    ready_ = true;
    changed_.notify_all();
  });
  if (!stream.ok()) Stop(stream.status().ToString());
  stream_ = *std::move(stream);
}

engine::FinishedEvent Reader::Wait(std::string* text) {
  while (true) {
    engine::QueryEvent event;
    switch (stream_->TryRead(&event)) {
      case engine::GenerateStream::ReadState::kEnd:
        if (!stream_->status().ok()) Stop(stream_->status().ToString());
        return finished_;
      case engine::GenerateStream::ReadState::kPending: {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return ready_; });
        ready_ = false;
        break;
      }
      case engine::GenerateStream::ReadState::kEvent:
        if (const auto* token = std::get_if<engine::TokenEvent>(&event)) *text += token->text;
        if (const auto* finished = std::get_if<engine::FinishedEvent>(&event))
          finished_ = *finished;
    }
  }
}

}  // namespace msa::bench
